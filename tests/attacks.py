"""RFC 8725 and its neighbours as a table: what an attacker may put into `Authorization`, and what is merely odd."""

import base64
import hmac
import json
import time
from typing import Any

from tests.api import SECRET

USER = "5f0c1a7e-3b1d-4d5e-9b1a-0123456789ab"
# The hour, for the names of the tests to be the same in all processes that share them.
NOW = int(time.time()) // 3600 * 3600
LATER = NOW + 24 * 3600
GOOD_CLAIMS = {"user_id": USER, "iat": NOW, "exp": LATER}
HEADER = {"alg": "HS256", "typ": "JWT"}


def encode(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def sign(header: Any, claims: Any, key: str = SECRET, digest: str = "sha256") -> bytes:
    """A token with a right signature on whatever it says, bytes as they are: libraries refuse to write most of it."""
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims))
    signed = b".".join(encode(part) for part in parts)
    return signed + b"." + encode(hmac.digest(key.encode(), signed, digest))


def claims(**changed: Any) -> dict[str, Any]:
    return {**GOOD_CLAIMS, **changed}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD_CLAIMS.items() if key != name}


def raw(name: str, value: str) -> bytes:
    """Claims with a value that json.dumps would not write."""
    return json.dumps(without(name))[:-1].encode() + f', "{name}": {value}}}'.encode()


GOOD = sign(HEADER, GOOD_CLAIMS)
HEAD, PAYLOAD, SIGNATURE = GOOD.split(b".")
OTHER = sign(HEADER, claims(user_id=USER.replace("5", "6")))
ATTACKER = "the attacker's key, which is long enough for HS256"
PEM = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"
NONES = ("none", "None", "NONE", "nOnE", "", " none", "none\u0000")
CONFUSED = ("HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256", "HS256 ", "HMAC", "dir", "A128KW")
ODD: tuple[Any, ...] = (None, True, False, "", "soon", str(LATER), [LATER], {"exp": LATER})
NO_UUID: tuple[Any, ...] = (
    None,
    True,
    1,
    1.5,
    "",
    "ada",
    [USER],
    {"id": USER},
    "*",
    USER[:-1],
    USER + "\n",
    f"{{{USER}}}",
)
NO_OBJECT = (b"", b"{}", b"[]", b"null", b"1", b'"HS256"', b"\xff\xfe", b"{", b"[" * 9999)
OVER = ("0", "-1", "-1e9", "NaN", "-Infinity", "-" + "9" * 400, str(NOW - 1))
FAR = ("1e999", "Infinity", "9" * 400, "9" * 4400)
SCHEMES = (
    b"", b"Basic ", b"Digest ", b"Token ", b"JWT ", b"Negotiate ", b"Bearer: ", b"Bearer=", b"Bearer", b"Bearer\t",
    b"Bearer,", b"Bearer token=", b"Bearer Bearer ", b"Bearer \t", b"Bearer\xa0", b"Bearer\xc2\xa0", b"B\xe9arer ",
    b"Bearers ", b"\xff ",
)  # fmt: skip

TOKENS: dict[str, bytes] = {
    # 2.1, 3.1: the algorithm is never the token's to choose.
    **{f"alg {alg!r} unsigned": encode(json.dumps({"alg": alg}).encode()) + b"." + PAYLOAD + b"." for alg in NONES},
    **{f"alg {alg!r} signed": sign({"alg": alg}, GOOD_CLAIMS) for alg in NONES + CONFUSED},
    **{f"alg {alg!r}": sign({"alg": alg}, GOOD_CLAIMS) for alg in (None, True, 256, ["HS256"], {"HS256": 1})},
    "alg absent": sign({"typ": "JWT"}, GOOD_CLAIMS),
    "alg twice": sign(b'{"alg":"HS256","alg":"none"}', GOOD_CLAIMS),
    "HS384 by its own digest": sign({"alg": "HS384"}, GOOD_CLAIMS, digest="sha384"),
    "HS512 by its own digest": sign({"alg": "HS512"}, GOOD_CLAIMS, digest="sha512"),
    "HS256 with the digest of HS512": sign(HEADER, GOOD_CLAIMS, digest="sha512"),
    "RS256 signed with a public key": sign({"alg": "RS256"}, GOOD_CLAIMS, PEM),
    "HS256 signed with a public key": sign(HEADER, GOOD_CLAIMS, PEM),
    # 2.2, 3.5: keys.
    **{f"key {key!r}": sign(HEADER, GOOD_CLAIMS, key) for key in ("", "secret", ATTACKER, SECRET[:-1], SECRET + "\n")},
    "key in hexadecimal": sign(HEADER, GOOD_CLAIMS, SECRET.encode().hex()),
    # 3.3, 3.6: parts that do not belong together, or are not all there.
    "payload of another token": b".".join((HEAD, OTHER.split(b".")[1], SIGNATURE)),
    "signature of another token": b".".join((HEAD, PAYLOAD, OTHER.split(b".")[2])),
    "signed again without the key": b".".join((HEAD, PAYLOAD, encode(hmac.digest(b"", PAYLOAD, "sha256")))),
    "header only": HEAD, "no signature": HEAD + b"." + PAYLOAD, "empty signature": HEAD + b"." + PAYLOAD + b".",
    "no header": b"." + PAYLOAD + b"." + SIGNATURE, "no payload": HEAD + b".." + SIGNATURE, "dots": b"..",
    "header cut": HEAD[:-1] + b"." + PAYLOAD + b"." + SIGNATURE,
    "payload cut": HEAD + b"." + PAYLOAD[:-1] + b"." + SIGNATURE,
    "signature cut": GOOD[:-1], "signature halved": GOOD[:-22], "one part more": GOOD + b"." + SIGNATURE,
    "five parts, as JWE": GOOD + b"." + PAYLOAD + b"." + SIGNATURE, "longer by a letter": GOOD + b"A",
    "JSON serialisation": json.dumps({"payload": PAYLOAD.decode(), "signatures": [{"signature": "x"}]}).encode(),
    "base64 of it all": base64.b64encode(GOOD), "percent-encoded": GOOD.replace(b".", b"%2E"),
    "followed by commas": GOOD + b",,,,", "with signs that base64 skips": GOOD[:-4] + b"!*!*" + GOOD[-4:],
    "nested": sign({**HEADER, "cty": "JWT"}, GOOD),
    "nested as text": sign({**HEADER, "cty": "JWT"}, json.dumps(GOOD.decode())),
    "huge": b"A" * 50_000, "huge parts": b".".join([b"A" * 20_000] * 3), "many dots": b"." * 20_000,
    # 3.10: keys that the token brings along.
    **{f"{name} of the attacker": sign({**HEADER, name: value}, GOOD_CLAIMS, ATTACKER) for name, value in {
        "kid": "../../../../dev/null", "jku": "http://127.0.0.1:9/jwks", "x5u": "http://127.0.0.1:9/cert",
        "jwk": {"kty": "oct", "k": encode(ATTACKER.encode()).decode()}, "x5c": [encode(ATTACKER.encode()).decode()],
    }.items()},
    "kid that leads to an empty key": sign({**HEADER, "kid": "/dev/null"}, GOOD_CLAIMS, ""),
    "kid as SQL": sign({**HEADER, "kid": "' union select 'k'--"}, GOOD_CLAIMS, "k"),
    "kid of another type": sign({**HEADER, "kid": ["1"]}, GOOD_CLAIMS),
    "crit that nobody knows": sign({**HEADER, "crit": ["exp"], "exp": LATER}, GOOD_CLAIMS),
    "crit, empty": sign({**HEADER, "crit": []}, GOOD_CLAIMS),
    "crit of another type": sign({**HEADER, "crit": "b64"}, GOOD_CLAIMS),
    "b64 false": sign({**HEADER, "crit": ["b64"], "b64": False}, GOOD_CLAIMS),
    # 3.2, 3.7: what is signed with our key, and still is no token.
    **{f"header {text[:9]!r}": sign(text, GOOD_CLAIMS) for text in NO_OBJECT},
    **{f"payload {text[:9]!r}": sign(HEADER, text) for text in NO_OBJECT},
    **{f"{name} {value!r}": sign(HEADER, claims(**{name: value})) for name in ("exp", "iat", "nbf") for value in ODD},
    **{f"exp {value[:9]}": sign(HEADER, raw("exp", value)) for value in OVER},
    **{f"{name} {value[:9]}, {len(value)}": sign(HEADER, raw(name, value)) for name in ("iat", "nbf") for value in FAR},
    "nbf NaN": sign(HEADER, raw("nbf", "NaN")),
    "no exp": sign(HEADER, without("exp")), "iat of tomorrow": sign(HEADER, claims(iat=LATER)),
    "nbf of tomorrow": sign(HEADER, claims(nbf=LATER)),
    # 3.8, 3.9: whose it is.
    "no user": sign(HEADER, without("user_id")), "user_id in capitals": sign(HEADER, {"USER_ID": USER, "exp": LATER}),
    **{f"user_id {value!r}, sub good": sign(HEADER, claims(user_id=value, sub=USER)) for value in NO_UUID},
    **{f"sub {value!r}": sign(HEADER, {**without("user_id"), "sub": value}) for value in NO_UUID},
    "email for a user": sign(HEADER, {**without("user_id"), "email": "ada@example.com"}),
}  # fmt: skip
HEADERS: dict[str, list[bytes]] = {
    "none at all": [],
    **{f"scheme {scheme!r}": [scheme + GOOD] for scheme in SCHEMES},
    **{f"value {value!r}": [value] for value in (
        b"", b"Bearer", b"Bearer ", b"Bearer null", b"Bearer undefined", b"Bearer ..", b"Bearer \xff\xfe",
        b"Bearer \xf0\x9f\x8d\x8e", b'Bearer "' + GOOD + b'"', b"Bearer " + GOOD + b" x", b"Bearer x " + GOOD,
        b"Bearer " + GOOD + b"," + GOOD, b"Bearer x, Bearer " + GOOD, b"Bearer " + GOOD + b", Basic eDp5",
        b"Bearer " + GOOD + b";", *(b"Bearer " + GOOD[:60] + gap + GOOD[60:] for gap in (b" ", b"\t", b"\xff")),
    )},
    "twice the same": [b"Bearer " + GOOD] * 2,
    "a good one and another": [b"Bearer " + GOOD, b"Bearer " + OTHER],
    "a good one and a bad one": [b"Bearer " + GOOD, b"Bearer x"],
    "a bad one and a good one": [b"Bearer x", b"Bearer " + GOOD],
    "an empty one and a good one": [b"", b"Bearer " + GOOD],
}  # fmt: skip
ATTACKS = HEADERS | {name: [b"Bearer " + token] for name, token in TOKENS.items()}
HARMLESS: dict[str, bytes] = {
    "as it should be": GOOD,
    "no iat": sign(HEADER, without("iat")),
    "exp far away": sign(HEADER, claims(exp=2**53)),
    "exp with a fraction": sign(HEADER, claims(exp=LATER + 0.5)),
    "aud": sign(HEADER, claims(aud="http://localhost:3000")),
    "sub instead of user_id": sign(HEADER, {**without("user_id"), "sub": USER}),
    "kid, ignored": sign({**HEADER, "kid": "1"}, GOOD_CLAIMS),
    "jku, never fetched": sign({**HEADER, "jku": "http://127.0.0.1:9/"}, GOOD_CLAIMS),
    "no typ": sign({"alg": "HS256"}, GOOD_CLAIMS),
}
"""Signed with our key and right in what counts: 200."""
ODD_HEADERS = {"zip": "DEF", "typ": 5, "b64": False, "cty": "JWT"}
EITHER = {
    "padded": GOOD + b"=",
    **{f"exp {value[:9]}, {len(value)}": sign(HEADER, raw("exp", value)) for value in (*FAR, "1e300", "9" * 30)},
    **{f"iat {value}": sign(HEADER, raw("iat", value)) for value in ("NaN", "-Infinity", "-1")},
    **{f"{name} in the header": sign({**HEADER, name: value}, GOOD_CLAIMS) for name, value in ODD_HEADERS.items()},
}
"""Signed with our key and odd: let in or not, but never a crash."""
