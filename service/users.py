"""Sign-up and log-in."""

import logging
import unicodedata
import uuid
from typing import Annotated

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError
from email_validator.syntax import split_email, validate_email_domain_name, validate_email_local_part
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.auth.passwords import LONGEST_BYTES
from service.errors import ApiError
from service.postgres.queries import SQL
from service.state import State, state_of
from service.web import body
from service.web.body import validate_text, validation_error

logger = logging.getLogger("service.users")


LONGEST_EMAIL = 255
# People host this themselves, with addresses in .local and .test.
SPECIAL_USE_DOMAIN_NAMES.clear()


def normalise_email(value: str) -> str:
    """The address as it is stored and compared: trimmed, in lower case, NFC; raises EmailNotValidError."""
    _, _, local, quoted, domain = split_email(value.strip())
    if quoted or "<" in value:
        raise EmailNotValidError
    # The parts one by one, because validate_email stops at 254 characters where the contract allows 255.
    local = validate_email_local_part(fold_case(local))["local_part"]
    domain = validate_email_domain_name(fold_case(domain))["domain"]
    return f"{local}@{domain}"


def fold_case(text: str) -> str:
    # NFC last: of J with a caron there is no composed form, of j with a caron there is.
    return unicodedata.normalize("NFC", text.lower())


def _email(value: object) -> str:
    if value is None or value == "":
        raise validation_error("Email is required")
    given = validate_text("Email", validate_text("Email", value).strip(), LONGEST_EMAIL)
    try:
        return validate_text("Email", normalise_email(given), LONGEST_EMAIL)
    except EmailNotValidError:
        raise validation_error("Invalid email format") from None


def _new_password(value: object) -> str:
    if value is None or value == "":
        raise validation_error("Password is required")
    password = validate_text("Password", value)
    if len(password) < 8:
        raise validation_error("Password must be at least 8 characters")
    if len(password.encode()) > LONGEST_BYTES:
        raise validation_error(f"Password must not exceed {LONGEST_BYTES} bytes")
    return password


class SignUp(BaseModel):
    email: Annotated[str, BeforeValidator(_email)]
    password: Annotated[str, BeforeValidator(_new_password)]


class LogIn(BaseModel):
    # A password of blanks is a password; an e-mail of blanks is none.
    email: Annotated[str, AfterValidator(str.strip), Field(min_length=1)]
    password: Annotated[str, Field(min_length=1)]


async def sign_up(request: Request[State]) -> Response:
    sent = await body.read(request, SignUp)
    password_hash = await state_of(request.scope)["passwords"].hash(sent.password)
    user_id = str(uuid.uuid4())
    await state_of(request.scope)["pool"].fetch_one(SQL.create_user, user_id, sent.email, password_hash)
    return _account(request, user_id, sent.email, 201)


async def log_in(request: Request[State]) -> Response:
    sent = await body.read(request, LogIn, "Email and password required")
    state = state_of(request.scope)
    address = request.client.host if request.client else "unknown"
    try:
        email = normalise_email(sent.email) if len(sent.email) <= LONGEST_EMAIL else ""
    except EmailNotValidError:
        # Nobody's address, but asked for all the same: the work must not tell.
        email = ""
    await state["login_limits"].count(email, address)
    row = await state["pool"].fetch_one(SQL.find_user, email)
    try:
        matched = await state["passwords"].matches(sent.password, row and row["password_hash"])
    except ApiError:
        await state["login_limits"].take_back(email, address)
        raise
    if not matched:
        logger.warning("log-in refused from %s: %s", address, "wrong password" if row else "unknown e-mail")
        raise ApiError(401, "Invalid email or password", {"WWW-Authenticate": "Bearer"})
    await state["login_limits"].clear(email, address)
    return _account(request, str(row["id"]), row["email"], 200)


def _account(request: Request[State], user_id: str, email: str, status: int) -> Response:
    token = state_of(request.scope)["tokens"].issue(user_id, email)
    return JSONResponse({"token": token, "user": {"id": user_id, "email": email}}, status)
