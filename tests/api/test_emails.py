"""E-mail addresses: which are valid, and which are the same."""

import contextlib
import sys
import unicodedata

import psycopg
import pytest
from email_validator import EmailNotValidError

from service.users import fold_case, normalise_email
from tests.support.answers import assert_error
from tests.support.api import Api

pytestmark = pytest.mark.anyio

INVALID = (
    "ada", "ada@", "@example.com", "ada@@example.com", "ada@example", "ada@.com", "ada@example..com",
    "ada@example.com.",
    "ada@-example.com", "ada@exam_ple.com", "a da@example.com", "ada@exam ple.com", ".ada@example.com",
    "ada.@example.com",
    "a..da@example.com", "Ada <ada@example.com>", "<ada@example.com>", "ada@example.com, eve@example.com",
    "ada@exa\nmple.com",
    "ada(comment)@example.com", "ada\x7f@example.com", "ada\x01@example.com", "mailto:ada@example.com",
    "ada@example.com\x00",
    "   ", "http://example.com", "ada@http://example.com", "ada\u202e@example.com",
)  # fmt: skip


def long_email(length: int) -> str:
    """A valid address of this many characters."""
    domain = ".".join(["d" * 60] * 3)
    rest = length - len(domain) - len("@..com") - 64
    return f"{'a' * 64}@{domain}.{'e' * rest}.com"


async def test_an_invalid_email_is_400(api: Api) -> None:
    for email in INVALID:
        response = await api.sign_up(email)
        assert response.status_code == 400, email
        assert_error(response, 400, None if "\x00" in email else "Invalid email format")


async def test_blanks_around_an_email_are_trimmed(api: Api) -> None:
    response = await api.sign_up(" \t\n\u00a0\u3000ada@example.com\u2003\r\n")
    assert (response.status_code, response.json()["user"]["email"]) == (201, "ada@example.com")
    response = await api.log_in("\u2003 ada@example.com \n")
    assert (response.status_code, response.json()["user"]["email"]) == (200, "ada@example.com")


async def test_an_email_is_lower_case_in_answers_and_in_the_database(api: Api, owner: psycopg.Connection) -> None:
    assert (await api.sign_up("Ada.Lovelace+Todo@EXAMPLE.com")).json()["user"][
        "email"
    ] == "ada.lovelace+todo@example.com"
    assert owner.execute("select email from users").fetchall() == [("ada.lovelace+todo@example.com",)]


async def test_letters_beyond_ascii_are_lower_cased_too(api: Api) -> None:
    response = await api.sign_up("JÜRGEN@BÜCHER.example")
    assert (response.status_code, response.json()["user"]["email"]) == (201, "jürgen@bücher.example")
    assert_error(await api.sign_up("jürgen@bücher.example"), 409, "Email already registered")
    assert (await api.log_in("Jürgen@BÜCHER.example")).status_code == 200


def spellings(character: str) -> set[str]:
    """The character, its other case, and the same in decomposed form."""
    cases = {character, character.lower(), character.upper()}
    return cases | {unicodedata.normalize("NFD", case) for case in cases}


async def test_normalising_an_email_twice_gives_the_same_email() -> None:
    """Over all of Unicode. Eight letters have a composed form in lower case only: U+01F0 is one."""
    changing = [each for each in map(chr, range(sys.maxunicode + 1)) if len(spellings(each)) > 1]
    assert len(changing) > 10_000
    for spelling in {spelling for each in changing for spelling in spellings(each)}:
        folded = fold_case(spelling)
        assert folded == fold_case(folded) == fold_case(unicodedata.normalize("NFD", spelling)), ascii(spelling)
        assert folded == folded.lower()
    for character in changing[:: len(changing) // 500]:
        with contextlib.suppress(EmailNotValidError):
            answered = normalise_email(f"a{character}@b{character}.example")
            assert normalise_email(answered) == answered, ascii(character)


@pytest.mark.parametrize("letter", ["J\u030c", "H\u0331", "T\u0308", "W\u030a", "Y\u030a"])
async def test_a_letter_with_a_composed_form_in_lower_case_only_makes_one_account(api: Api, letter: str) -> None:
    answered = (await api.sign_up(f"a{letter}@example.com")).json()["user"]["email"]
    assert (await api.log_in(answered)).status_code == 200
    for email in (answered, f"a{letter.lower()}@example.com"):
        assert_error(await api.sign_up(email), 409, "Email already registered")


async def test_composed_and_decomposed_letters_are_the_same_email(api: Api) -> None:
    assert (await api.sign_up("ju\u0308rgen@example.com")).status_code == 201
    assert_error(await api.sign_up("j\u00fcrgen@example.com"), 409, "Email already registered")


@pytest.mark.parametrize("email", ["ΟΔΥΣΣΕΥΣ@example.com", "İPEK@example.com"])
async def test_a_user_who_signed_up_in_capitals_can_log_in_with_the_returned_email(api: Api, email: str) -> None:
    answered = (await api.sign_up(email)).json()["user"]["email"]
    assert answered == answered.lower()
    assert (await api.log_in(answered)).status_code == 200
    assert_error(await api.sign_up(email), 409, "Email already registered")


@pytest.mark.parametrize("domain", ["todo.test", "office.local", "gone.invalid"])
async def test_a_domain_of_special_use_is_valid(api: Api, domain: str) -> None:
    assert (await api.sign_up(f"ada@{domain}")).status_code == 201


async def test_an_email_may_have_255_characters(api: Api) -> None:
    email = long_email(255)
    assert len(email) == 255
    assert (await api.sign_up(f"  {email}  ")).json()["user"]["email"] == email
    assert (await api.log_in(email)).status_code == 200


async def test_an_email_of_256_characters_is_400(api: Api) -> None:
    assert_error(await api.sign_up(long_email(256)), 400, "Email must not exceed 255 characters")
    assert_error(await api.sign_up("a" * 10_000), 400)


async def test_an_email_that_is_longer_in_lower_case_causes_no_500(api: Api) -> None:
    # A capital İ is one character, its lower case is two.
    local = "İ" * 64
    response = await api.sign_up(local + long_email(255)[64:])
    assert response.status_code in (201, 400)
