-- E-mails in Unicode's NFC, as sign-up stores them from now on. Earlier versions normalised before they lowered the case, so
-- eight letters (J with a caron is one) were stored decomposed, and the address that sign-up returned could not log in.
-- An address whose NFC already has another account stays as it is: which of the two to close is for the operator to decide.

set local lock_timeout = '3s';

update users
set email = normalize(email, nfc)
where email is not nfc normalized
    and not exists (select 1 from users as other where other.email = normalize(users.email, nfc));
