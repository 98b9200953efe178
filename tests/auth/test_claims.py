"""Claims: a token needs HS256 with the secret, an `exp` and a UUID; everything else is 401."""

import base64
import hmac
import json
import time
import uuid
from typing import Any

import jwt
import pytest

from tests.support.api import SECRET, Api, User, token
from tests.support.token_status import status

pytestmark = pytest.mark.anyio


def signed(payload: bytes, header: bytes = b'{"alg":"HS256","typ":"JWT"}', digest: str = "sha256") -> str:
    """A token with a valid signature and any payload; jwt.encode refuses some of these payloads."""
    parts = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    signature = hmac.digest(SECRET.encode(), parts, digest)
    return f"{parts.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def test_only_hs256_with_our_secret_is_accepted(api: Api) -> None:
    user_id = api.user().id
    claims = {"user_id": user_id, "exp": int(time.time()) + 3600}
    payload = json.dumps(claims).encode()
    forged = [jwt.encode(claims, SECRET * 2, name) for name in ("HS256", "HS384", "HS512")]
    forged += [signed(payload, b'{"alg":"HS384"}', "sha384"), signed(payload, b'{"alg":"HS512"}', "sha512")]
    forged += [jwt.encode(claims, "", "none"), *(signed(payload, header) for header in HEADERS)]
    good = token(user_id=user_id)
    other = token(user_id=str(uuid.uuid4()))
    forged.append(".".join((good.split(".")[0], other.split(".")[1], good.split(".")[2])))
    for each in forged:
        assert await status(api, f"Bearer {each}") == 401, each
    assert await status(api, f"Bearer {signed(payload)}") == 200, "the same tool can make a valid token"


HEADERS = (
    b'{"alg":"none"}', b'{"alg":"None"}', b'{"alg":"HS512"}', b'{"alg":"RS256"}', b'{"alg":"ES256"}',
    b'{"alg":"hs256"}',
    b'{"alg":""}', b'{"alg":null}', b'{"alg":["HS256"]}', b'{"typ":"JWT"}', b"{}", b"[]", b"null", b"", b"\xff",
    b'{"alg":"HS256","crit":["exp"],"exp":1}',
)  # fmt: skip


async def test_invalid_claims_are_401(api: Api) -> None:
    user_id = api.user().id
    soon, past = int(time.time()) + 3600, int(time.time()) - 1
    claims: list[dict[str, Any]] = [
        {"user_id": user_id}, {"user_id": user_id, "exp": past}, {"user_id": user_id, "exp": 0},
        {"user_id": user_id, "exp": -1},
        *({"user_id": user_id, "exp": bad} for bad in (None, True, False, str(soon), "", "soon", [soon], {"a": 1})),
        {"exp": soon}, {"exp": soon, "email": "ada@example.com"},
        *({"user_id": bad, "exp": soon} for bad in NO_UUID),
        *({"sub": bad, "exp": soon} for bad in NO_UUID),
        {"user_id": "ada", "sub": user_id, "exp": soon}, {"user_id": "", "sub": user_id, "exp": soon},
        {"User_Id": user_id, "exp": soon}, {"id": user_id, "exp": soon},
    ]  # fmt: skip
    for each in claims:
        assert await status(api, f"Bearer {signed(json.dumps(each).encode())}") == 401, each


NO_UUID: tuple[Any, ...] = (
    "", "1", "ada", "null", 1, 1.5, True, [], {}, f"{{{uuid.uuid4()}}}", f"urn:uuid:{uuid.uuid4()}", f" {uuid.uuid4()}",
    f"{uuid.uuid4()}\n", f"{uuid.uuid4()}' or '1'='1", "\x00" * 36, "٣" * 36, "-" * 36,
)  # fmt: skip


async def test_payloads_that_are_not_a_json_object_are_401(api: Api) -> None:
    user_id = api.user().id.encode()
    for payload in (
        b"", b"null", b"[]", b"1", b'"text"', b"{", b"\xff\xfe", b"[" * 50_000, b'{"user_id":"%s","exp":NaN}' % user_id,
        b'{"user_id":"%s","exp":-Infinity}' % user_id, b'{"user_id":"\\ud800","exp":9999999999}',
    ):  # fmt: skip
        assert await status(api, f"Bearer {signed(payload)}") == 401, payload[:50]
    for exp in (b"1e400", b"Infinity", b"9" * 400, b"9" * 5000):
        far = signed(b'{"user_id":"%s","exp":%s}' % (user_id, exp))
        assert await status(api, f"Bearer {far}") in (200, 401), exp[:10]


async def test_the_user_comes_from_user_id_or_else_from_sub(api: Api) -> None:
    ada, eve = api.user(), api.user()
    task = await api.task(ada)
    for claims in (
        {"user_id": ada.id},
        {"sub": ada.id},
        {"user_id": ada.id, "sub": eve.id},
        {"user_id": ada.id.upper()},
    ):
        caller = User(ada.id, ada.email, token(iat=None, **claims))
        assert (await api.list_tasks(caller)).json() == {"tasks": [task]}, claims


async def test_unknown_claims_are_ignored(api: Api) -> None:
    user_id = api.user().id
    # Better Auth writes `iss` and `aud` into its tokens.
    for others in (
        {"aud": "http://localhost:3000"}, {"aud": ["a", "b"]}, {"iss": "http://localhost:3000"}, {"sub": "no uuid"},
        {"email": None}, {"email": 1}, {"jti": "1"}, {"name": "Ada", "image": None, "emailVerified": True},
    ):  # fmt: skip
        assert await status(api, f"Bearer {token(user_id=user_id, **others)}") == 200, others
