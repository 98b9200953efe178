-- Nothing to take back: earlier versions read e-mails in NFC as well.

set local lock_timeout = '3s';

select 1;
