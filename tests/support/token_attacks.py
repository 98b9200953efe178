"""A table of attacks on tokens, after RFC 8725 (section numbers in the docstrings), and of unusual valid tokens."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.support.api import SECRET

USER = "5f0c1a7e-3b1d-4d5e-9b1a-0123456789ab"
# Rounded to the hour, so that all processes of a test run generate the same test names.
NOW = int(time.time()) // 3600 * 3600
LATER = NOW + 24 * 3600
GOOD_CLAIMS = {"user_id": USER, "iat": NOW, "exp": LATER}
HEADER = {"alg": "HS256", "typ": "JWT"}


def encode(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def sign(header: Any, claims: Any, key: str | bytes = SECRET, digest: str = "sha256") -> bytes:
    """A token with a valid signature and any header and claims, also those that libraries refuse to encode."""
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims))
    signed = b".".join(encode(part) for part in parts)
    return signed + b"." + encode(hmac.digest(key if isinstance(key, bytes) else key.encode(), signed, digest))


def claims(**changed: Any) -> dict[str, Any]:
    return {**GOOD_CLAIMS, **changed}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD_CLAIMS.items() if key != name}


def raw(name: str, value: str) -> bytes:
    """Claims with a raw JSON value that json.dumps would not write."""
    return json.dumps(without(name))[:-1].encode() + f', "{name}": {value}}}'.encode()


GOOD = sign(HEADER, GOOD_CLAIMS)
OTHER = sign(HEADER, claims(user_id=USER.replace("5", "6")))
ATTACKER = "the attacker's key, which is long enough for HS256"
PEM = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"
NONES = ("none", "None", "NONE", "nOnE", "", " none", "none\u0000")
CONFUSED = ("HS256", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256", "HS256 ", "HMAC", "dir", "A128KW")
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
VALUES = (
    b"", b"Bearer", b"Bearer ", b"Bearer null", b"Bearer undefined", b"Bearer ..", b"Bearer \xff\xfe",
    b"Bearer \xf0\x9f\x8d\x8e",
)  # fmt: skip


class Kind(NamedTuple):
    """A kind of token: the header and claims of a valid one, its signature, and an attacker's signature."""

    header: dict[str, Any]
    claims: dict[str, Any]
    sign: Callable[[Any, Any], bytes]
    forge: Callable[[Any, Any], bytes]

    def say(self, **changed: Any) -> bytes:
        """A token with a valid signature and other claims."""
        return self.sign(self.header, {**self.claims, **changed})

    def head(self, **changed: Any) -> bytes:
        """A token with a valid signature and another header."""
        return self.sign({**self.header, **changed}, self.claims)

    def without(self, name: str) -> dict[str, Any]:
        return {key: value for key, value in self.claims.items() if key != name}

    def raw(self, name: str, value: str) -> bytes:
        """A token with a valid signature and a claim that json.dumps would not write."""
        return self.sign(self.header, json.dumps(self.without(name))[:-1].encode() + f', "{name}": {value}}}'.encode())


OURS = Kind(HEADER, GOOD_CLAIMS, sign, lambda header, claims: sign(header, claims, ATTACKER))


def algorithms(kind: Kind) -> dict[str, bytes]:
    """2.1, 3.1: the token must not choose the algorithm."""
    payload = kind.say().split(b".")[1]
    others = [alg for alg in CONFUSED if alg != kind.header["alg"]]
    header = {name: value for name, value in kind.header.items() if name != "alg"}
    unsigned = {alg: encode(json.dumps({**header, "alg": alg}).encode()) + b"." + payload + b"." for alg in NONES}
    twice = json.dumps(kind.header)[:-1].encode() + b', "alg": "none"}'
    return {
        **{f"alg {alg!r} unsigned": token for alg, token in unsigned.items()},
        **{f"alg {alg!r} signed": kind.head(alg=alg) for alg in (*NONES, *others)},
        **{f"alg {alg!r}": kind.head(alg=alg) for alg in (None, True, 256, ["HS256"], {"HS256": 1})},
        "alg absent": kind.sign(header, kind.claims),
        "alg twice": kind.sign(twice, kind.claims),
        "alg 'HS256' signed with a public key": sign({**kind.header, "alg": "HS256"}, kind.claims, PEM),
        "alg 'RS256' signed with a public key": sign({**kind.header, "alg": "RS256"}, kind.claims, PEM),
    }


def pieces(kind: Kind) -> dict[str, bytes]:
    """3.3, 3.6: mixed, missing and malformed parts."""
    good, other = kind.say(), kind.say(exp=LATER + 1)
    head, payload, signature = good.split(b".")
    return {
        "payload of another token": b".".join((head, other.split(b".")[1], signature)),
        "signature of another token": b".".join((head, payload, other.split(b".")[2])),
        "signed again without the key": b".".join((head, payload, encode(hmac.digest(b"", payload, "sha256")))),
        "header only": head, "no signature": head + b"." + payload, "empty signature": head + b"." + payload + b".",
        "no header": b"." + payload + b"." + signature, "no payload": head + b".." + signature, "dots": b"..",
        "header cut": head[:-1] + b"." + payload + b"." + signature,
        "payload cut": head + b"." + payload[:-1] + b"." + signature,
        "signature cut": good[:-1], "signature halved": good[:-22], "one part more": good + b"." + signature,
        "five parts, as JWE": good + b"." + payload + b"." + signature, "longer by a letter": good + b"A",
        "JSON serialisation": json.dumps({"payload": payload.decode(), "signatures": [{"signature": "x"}]}).encode(),
        "base64 of it all": base64.b64encode(good), "percent-encoded": good.replace(b".", b"%2E"),
        "followed by commas": good + b",,,,", "with signs that base64 skips": good[:-4] + b"!*!*" + good[-4:],
        "nested": kind.sign({**kind.header, "cty": "JWT"}, good),
        "nested as text": kind.sign({**kind.header, "cty": "JWT"}, json.dumps(good.decode())),
        "huge": b"A" * 50_000, "huge parts": b".".join([b"A" * 20_000] * 3), "many dots": b"." * 20_000,
    }  # fmt: skip


def keys(kind: Kind) -> dict[str, bytes]:
    """3.10: keys in the token itself."""
    brought: dict[str, Any] = {
        "kid": "../../../../dev/null", "jku": "http://127.0.0.1:9/jwks", "x5u": "http://127.0.0.1:9/cert",
        "jwk": {"kty": "oct", "k": encode(ATTACKER.encode()).decode()}, "x5c": [encode(ATTACKER.encode()).decode()],
    }  # fmt: skip
    return {
        **{
            f"{name} of the attacker": kind.forge({**kind.header, name: key}, kind.claims)
            for name, key in brought.items()
        },
        "the attacker's key": kind.forge(kind.header, kind.claims),
        "kid that leads to an empty key": sign({**kind.header, "kid": "/dev/null"}, kind.claims, ""),
        "kid as SQL": sign({**kind.header, "kid": "' union select 'k'--"}, kind.claims, "k"),
        "kid of another type": kind.head(kid=["1"]),
        "crit that nobody knows": kind.head(crit=["exp"], exp=LATER),
        "crit, empty": kind.head(crit=[]),
        "crit of another type": kind.head(crit="b64"),
        "b64 false": kind.head(crit=["b64"], b64=False),
    }


def words(kind: Kind) -> dict[str, bytes]:
    """3.2, 3.7: validly signed, but with an invalid header or invalid claims."""
    return {
        **{f"header {text[:9]!r}": kind.sign(text, kind.claims) for text in NO_OBJECT},
        **{f"payload {text[:9]!r}": kind.sign(kind.header, text) for text in NO_OBJECT},
        **{f"{name} {value!r}": kind.say(**{name: value}) for name in ("exp", "iat", "nbf") for value in ODD},
        **{f"exp {value[:9]}": kind.raw("exp", value) for value in OVER},
        **{f"{name} {value[:9]}, {len(value)}": kind.raw(name, value) for name in ("iat", "nbf") for value in FAR},
        "nbf NaN": kind.raw("nbf", "NaN"),
        "no exp": kind.sign(kind.header, kind.without("exp")),
        "iat of tomorrow": kind.say(iat=LATER), "nbf of tomorrow": kind.say(nbf=LATER),
    }  # fmt: skip


def of_every_kind(kind: Kind) -> dict[str, bytes]:
    return algorithms(kind) | pieces(kind) | keys(kind) | words(kind)


TOKENS: dict[str, bytes] = {
    **of_every_kind(OURS),
    "HS384 by its own digest": sign({"alg": "HS384"}, GOOD_CLAIMS, digest="sha384"),
    "HS512 by its own digest": sign({"alg": "HS512"}, GOOD_CLAIMS, digest="sha512"),
    "HS256 with the digest of HS512": sign(HEADER, GOOD_CLAIMS, digest="sha512"),
    # 2.2, 3.5: keys.
    **{f"key {key!r}": sign(HEADER, GOOD_CLAIMS, key) for key in ("", "secret", ATTACKER, SECRET[:-1], SECRET + "\n")},
    "key in hexadecimal": sign(HEADER, GOOD_CLAIMS, SECRET.encode().hex()),
    # 3.8, 3.9: the user.
    "no user": sign(HEADER, without("user_id")), "user_id in capitals": sign(HEADER, {"USER_ID": USER, "exp": LATER}),
    **{f"user_id {value!r}, sub good": sign(HEADER, claims(user_id=value, sub=USER)) for value in NO_UUID},
    **{f"sub {value!r}": sign(HEADER, {**without("user_id"), "sub": value}) for value in NO_UUID},
    "email for a user": sign(HEADER, {**without("user_id"), "email": "ada@example.com"}),
}  # fmt: skip


def headers(good: bytes, other: bytes) -> dict[str, list[bytes]]:
    """A valid token in an invalid Authorization header."""
    return {
        "none at all": [],
        **{f"scheme {scheme!r}": [scheme + good] for scheme in SCHEMES},
        **{f"value {value!r}": [value] for value in VALUES},
        "in quotes": [b'Bearer "' + good + b'"'], "a word behind": [b"Bearer " + good + b" x"],
        "a word before": [b"Bearer x " + good], "twice with a comma": [b"Bearer " + good + b"," + good],
        "behind another": [b"Bearer x, Bearer " + good], "before another": [b"Bearer " + good + b", Basic eDp5"],
        "a semicolon": [b"Bearer " + good + b";"],
        **{f"gap {gap!r}": [b"Bearer " + good[:60] + gap + good[60:]] for gap in (b" ", b"\t", b"\xff")},
        "twice the same": [b"Bearer " + good] * 2,
        "a good one and another": [b"Bearer " + good, b"Bearer " + other],
        "a good one and a bad one": [b"Bearer " + good, b"Bearer x"],
        "a bad one and a good one": [b"Bearer x", b"Bearer " + good],
        "an empty one and a good one": [b"", b"Bearer " + good],
    }  # fmt: skip


ATTACKS = headers(GOOD, OTHER) | {name: [b"Bearer " + token] for name, token in TOKENS.items()}
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
"""Valid tokens with unusual parts: 200."""
ODD_HEADERS = {"zip": "DEF", "typ": 5, "b64": False, "cty": "JWT"}
EITHER = {
    "padded": GOOD + b"=",
    **{f"exp {value[:9]}, {len(value)}": sign(HEADER, raw("exp", value)) for value in (*FAR, "1e300", "9" * 30)},
    **{f"iat {value}": sign(HEADER, raw("iat", value)) for value in ("NaN", "-Infinity", "-1")},
    **{f"{name} in the header": sign({**HEADER, name: value}, GOOD_CLAIMS) for name, value in ODD_HEADERS.items()},
}
"""Signed with the service's key and unusual: 200 or 401, but never 500."""
