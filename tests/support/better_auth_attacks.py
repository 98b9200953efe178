"""A table of attacks on the tokens of Better Auth: those of token_attacks.py and some for this kind only."""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from tests.support.token_attacks import LATER, NOW, OURS, USER, Kind, encode, headers, of_every_kind, sign


def made(alg: str) -> Any:
    return Ed25519PrivateKey.generate() if alg == "EdDSA" else generate_private_key(65537, 2048)


class Signer:
    """Signs any header and claims with a private key."""

    def __init__(self, alg: str, key: Any) -> None:
        self.algorithm: Any = get_default_algorithms()[alg]
        self.key = key

    def __call__(self, header: Any, claims: Any) -> bytes:
        signed = sign(header, claims).rpartition(b".")[0]
        return signed + b"." + encode(self.algorithm.sign(signed, self.key))

    def public(self) -> dict[str, bytes]:
        """The public key in every form that a library might take for an HMAC secret."""
        key, form = self.key.public_key(), PublicFormat.SubjectPublicKeyInfo
        pem, jwk = key.public_bytes(Encoding.PEM, form), self.algorithm.to_jwk(key, as_dict=True)
        number = jwk.get("x") or jwk["n"]
        return {
            "PEM": pem, "stripped PEM": pem.strip(), "DER": key.public_bytes(Encoding.DER, form),
            "JWK": json.dumps(jwk).encode(), "text": number.encode(), "bytes": base64.urlsafe_b64decode(number + "=="),
        }  # fmt: skip


def federated(alg: str, key: Any, kid: str, issuer: str, subject: str) -> Kind:
    claims = {"sub": subject, "iss": issuer, "aud": issuer, "iat": NOW, "exp": LATER}
    return Kind({"alg": alg, "kid": kid}, claims, Signer(alg, key), Signer(alg, made(alg)))


def confusions(kind: Kind) -> dict[str, bytes]:
    """Keys used with another algorithm than their own."""
    assert isinstance(kind.sign, Signer)
    public = kind.sign.public()
    hs256 = {**kind.header, "alg": "HS256"}
    ours = {**kind.claims, "user_id": USER}
    others = [
        alg for alg in ("EdDSA", "ES256", "ES384", "ES512", "PS256", "RS256", "RS512") if alg != kind.header["alg"]
    ]
    return {
        **{f"HS256 with the public key as {form}": sign(hs256, ours, key) for form, key in public.items()},
        **{f"HS256 with it as {form}, no kid": sign(OURS.header, ours, key) for form, key in public.items()},
        **{f"its own alg, HMAC with it as {form}": sign(kind.header, ours, key) for form, key in public.items()},
        "its own alg, HMAC with the secret": sign(kind.header, ours),
        "HS256, signed by its key": kind.sign(hs256, ours),
        "HS256 with the secret, for one of theirs": sign(hs256, kind.claims),
        "HS512 with the secret": sign({**hs256, "alg": "HS512"}, ours, digest="sha512"),
        **{f"{alg} for its key": kind.head(alg=alg) for alg in others},
        "no kid": kind.sign({"alg": kind.header["alg"]}, kind.claims),
        "no kid, for one of ours": kind.sign({"alg": kind.header["alg"]}, ours),
        **{f"kid {kid[:9]!r}": kind.head(kid=kid) for kid in ("", "unknown", "\0", "x" * 9999)},
        "kid cut": kind.head(kid=kind.header["kid"][:-1]),
    }  # fmt: skip


def identities(kind: Kind) -> dict[str, bytes]:
    """3.8, 3.9: wrong issuers, audiences and subjects."""
    issuer = kind.claims["iss"]
    near = {
        "/": issuer + "/",
        "cut": issuer[:-1],
        "upper": issuer.upper(),
        "more": issuer + "1",
        "path": issuer + "/api/auth",
    }
    foreign: tuple[Any, ...] = (None, "", True, 1, "https://evil.example", "http://localhost:3000", {"iss": issuer})
    nobody: tuple[Any, ...] = (None, True, False, 0, 1, 1.5, "", [], ["ada"], {"id": "ada"})
    absent = ("iss", "aud", "sub", "exp")
    return {
        **{f"{name} {value!r}"[:40]: kind.say(**{name: value}) for name in ("iss", "aud") for value in foreign[:-1]},
        **{f"{name}: {what}": kind.say(**{name: value}) for name in ("iss", "aud") for what, value in near.items()},
        "iss in an object": kind.say(iss={"iss": issuer}), "iss in a list": kind.say(iss=[issuer]),
        "aud in an object": kind.say(aud={"aud": issuer}), "aud of nobody": kind.say(aud=[]),
        "aud of others": kind.say(aud=["https://evil.example"]), "aud with a number": kind.say(aud=[issuer, 1]),
        **{f"no {name}": kind.sign(kind.header, kind.without(name)) for name in absent},
        **{f"sub {value!r}": kind.say(sub=value) for value in nobody},
        "sub without letters": kind.raw("sub", '"\\ud800"'),
        "user_id for a sub": kind.sign(kind.header, {**kind.without("sub"), "user_id": USER}),
        "id for a sub": kind.sign(kind.header, {**kind.without("sub"), "id": kind.claims["sub"]}),
    }  # fmt: skip


def attacks(kind: Kind) -> dict[str, list[bytes]]:
    tokens = of_every_kind(kind) | confusions(kind) | identities(kind)
    return headers(kind.say(), kind.say(exp=LATER + 1)) | {name: [b"Bearer " + token] for name, token in tokens.items()}


def harmless(kind: Kind) -> dict[str, bytes]:
    issuer = kind.claims["iss"]
    return {
        "as it should be": kind.say(),
        "no iat": kind.sign(kind.header, kind.without("iat")),
        "aud among others": kind.say(aud=["https://other.example", issuer]),
        "a user_id of ours": kind.say(user_id=USER, email="ada@example.com"),
        "a typ": kind.head(typ="JWT"),
        "jku, never fetched": kind.head(jku="http://127.0.0.1:9/"),
    }


ALGORITHMS = ("EdDSA", "RS256")
NAMES = {alg: federated(alg, made(alg), "a key", "http://127.0.0.1", "ada") for alg in ALGORITHMS}
"""Only for the names of the tests; no service accepts these keys."""
