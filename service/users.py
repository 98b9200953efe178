"""Sign-up and log-in."""

import contextlib
import logging
import time
import unicodedata
import uuid
from typing import Annotated

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError
from email_validator.syntax import split_email, validate_email_domain_name, validate_email_local_part
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from service.auth.login_limits import client_network
from service.auth.passwords import LONGEST_BYTES, Client
from service.errors import ApiError
from service.postgres.queries import SQL
from service.state import State, state_of
from service.web import body
from service.web.body import LARGEST_ACCOUNT_BYTES, validate_text, validation_error

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


def new_password(value: object) -> str:
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
    password: Annotated[str, BeforeValidator(new_password)]


class LogIn(BaseModel):
    # A password of blanks is a password; an e-mail of blanks is none.
    email: Annotated[str, AfterValidator(str.strip), Field(min_length=1)]
    password: Annotated[str, Field(min_length=1)]


async def sign_up(request: Request[State]) -> Response:
    sent = await body.read(request, SignUp, largest=LARGEST_ACCOUNT_BYTES)
    state, address, deadline = state_of(request.scope), _address(request), request.scope["deadline"]
    attempt = await state["login_limits"].count_sign_up(address, deadline)
    try:
        password_hash = await state["passwords"].hash(sent.password, _client(request, address))
    except ApiError:
        await state["login_limits"].take_back(attempt, deadline)
        raise
    user_id = str(uuid.uuid4())
    await state["pool"].fetch_one(SQL.create_user, user_id, sent.email, password_hash, deadline=deadline)
    with contextlib.suppress(ApiError):  # the account is made, so the answer is 201 whatever becomes of the count
        await state["login_limits"].take_back(attempt, deadline)
    return _account(request, user_id, sent.email, 201, time.time())


async def log_in(request: Request[State]) -> Response:
    sent = await body.read(request, LogIn, "Email and password required", LARGEST_ACCOUNT_BYTES)
    state, address, deadline = state_of(request.scope), _address(request), request.scope["deadline"]
    try:
        email = normalise_email(sent.email) if len(sent.email) <= LONGEST_EMAIL else ""
    except EmailNotValidError:
        # No address, but the same work as for one: the time must not tell.
        email = ""
    attempt = await state["login_limits"].count_log_in(email, address, deadline)
    # Before the hash is read: when another password is set meanwhile, the token of this log-in ends with the others.
    now = time.time()
    row = await state["pool"].fetch_one(SQL.find_user, email, deadline=deadline)
    try:
        password_hash = row and row["password_hash"]
        matched = await state["passwords"].matches(sent.password, password_hash, _client(request, address))
    except (ApiError, ClientDisconnect):
        await state["login_limits"].take_back(attempt, deadline)
        raise
    if not matched:
        logger.warning("log-in refused from %s: %s", address, "wrong password" if row else "unknown e-mail")
        raise ApiError(401, "Invalid email or password", {"WWW-Authenticate": "Bearer"})
    await state["login_limits"].succeeded(attempt, deadline)
    return _account(request, str(row["id"]), row["email"], 200, max(now, row["tokens_valid_from"]))


def _address(request: Request[State]) -> str:
    # Cut, because a trusted proxy may pass on anything as the client's address.
    return request.client.host[:64] if request.client else "unknown"


def _client(request: Request[State], address: str) -> Client:
    async def disconnected() -> None:
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect" or message.get("half_closed"):  # the latter says our own protocol
                return

    return Client(client_network(address), disconnected, request.scope["deadline"])


def _account(request: Request[State], user_id: str, email: str, status: int, issued_at: float) -> Response:
    token = state_of(request.scope)["tokens"].issue(user_id, email, issued_at)
    return JSONResponse({"token": token, "user": {"id": user_id, "email": email}}, status)
