"""Attacks with forged Better Auth tokens: every one gets the same 401, byte for byte."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from jwt.algorithms import get_default_algorithms

from tests.support import better_auth_attacks, token_attacks
from tests.support.better_auth_attacks import ALGORITHMS, NAMES, federated
from tests.support.better_auth_process import start
from tests.support.databases import Template
from tests.support.raw_tokens import REFUSAL, REFUSAL_HEADERS, ask
from tests.support.service_process import ServiceProcess, start_service
from tests.support.token_attacks import Kind

EACH = [("EdDSA", name) for name in better_auth_attacks.attacks(NAMES["EdDSA"])]
# Libraries that take a public key for an HMAC secret do so with RSA keys most often.
EACH += [("RS256", name) for name in better_auth_attacks.confusions(NAMES["RS256"])]


class Target(NamedTuple):
    service: ServiceProcess
    kind: Kind
    attacks: dict[str, list[bytes]]


@contextmanager
def attacked(app: Path, template: Template, alg: str) -> Iterator[Target]:
    with (
        start(app, alg=alg) as installation,
        template.copy() as database,
        start_service(template.service_url(database), BETTER_AUTH_URL=installation.url) as service,
    ):
        person = installation.sign_up("ada@example.com")
        (pair,) = installation.keys()
        key = get_default_algorithms()[alg].from_jwk(pair["privateKey"])
        kind = federated(alg, key, pair["id"], installation.url, person.id)
        yield Target(service, kind, better_auth_attacks.attacks(kind))


@pytest.fixture(scope="module")
def targets(better_auth_app: Path, template: Template) -> Iterator[dict[str, Target]]:
    """For each algorithm, a Better Auth that signs with it and a service that accepts its tokens."""
    with ExitStack() as stack:
        yield {alg: stack.enter_context(attacked(better_auth_app, template, alg)) for alg in ALGORITHMS}


@pytest.fixture(scope="module")
def target(targets: dict[str, Target]) -> Target:
    return targets["EdDSA"]


def assert_refused(service: ServiceProcess, values: list[bytes]) -> None:
    status, headers, body = ask(service, values)
    assert (status, body) == (b"HTTP/1.1 401 Unauthorized", REFUSAL)
    assert headers == REFUSAL_HEADERS | ({b"cache-control: no-store"} if values else set())


@pytest.mark.parametrize(("alg", "name"), EACH)
def test_every_attack_gets_the_same_401(targets: dict[str, Target], alg: str, name: str) -> None:
    assert_refused(targets[alg].service, targets[alg].attacks[name])


@pytest.mark.parametrize("name", token_attacks.ATTACKS)
def test_attacks_on_hs256_tokens_are_refused_while_better_auth_is_configured(target: Target, name: str) -> None:
    assert_refused(target.service, token_attacks.ATTACKS[name])


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("name", better_auth_attacks.harmless(NAMES["EdDSA"]))
def test_a_valid_token_of_better_auth_is_accepted(targets: dict[str, Target], alg: str, name: str) -> None:
    target = targets[alg]
    status, _, body = ask(target.service, [b"Bearer " + better_auth_attacks.harmless(target.kind)[name]])
    assert (status, body) == (b"HTTP/1.1 200 OK", b'{"tasks":[]}')


@pytest.mark.parametrize("name", token_attacks.HARMLESS)
def test_hs256_tokens_are_accepted_while_better_auth_is_configured(target: Target, name: str) -> None:
    assert ask(target.service, [b"Bearer " + token_attacks.HARMLESS[name]])[0] == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_token_with_one_changed_letter_is_refused(targets: dict[str, Target], alg: str) -> None:
    target = targets[alg]
    good = b"Bearer " + target.kind.say()
    assert ask(target.service, [good])[0] == b"HTTP/1.1 200 OK"
    for position in range(len(b"Bearer "), len(good)):
        changed = bytearray(good)
        changed[position] ^= 1
        assert_refused(target.service, [bytes(changed)])
