"""Users of a real Better Auth installation: tasks, rows in `users`, expiry of tokens, rotation of keys."""

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.auth import better_auth
from service.auth.better_auth import ALGORITHMS
from tests.support.answers import assert_error
from tests.support.api import BROWSER, Api, User, serve, settings, token
from tests.support.better_auth_process import BetterAuth, start
from tests.support.databases import Template
from tests.support.postgres_proxy import Moment, postgres_proxy
from tests.support.service_process import start_service

pytestmark = pytest.mark.anyio

RETRY_SECONDS = 0.5


@pytest.fixture(scope="module")
def installation(better_auth_app: Path) -> Iterator[BetterAuth]:
    with start(better_auth_app) as running:
        yield running


@pytest.fixture
async def api(installation: BetterAuth, database_url: str, owner: psycopg.Connection) -> AsyncIterator[Api]:
    async with serve(settings(database_url, better_auth_url=installation.url), owner) as api:
        yield api


def of_an_unknown_key(known: User) -> User:
    claims = jwt.decode(known.token, options={"verify_signature": False})
    return User("", "", jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA", {"kid": "unknown"}))


def new_user(installation: BetterAuth) -> User:
    return installation.sign_up(f"{uuid.uuid4()}@example.com").user()


async def status(api: Api, user: User) -> int:
    return (await api.list_tasks(user)).status_code


async def test_a_new_user_of_better_auth_works_with_tasks_over_http(
    installation: BetterAuth, template: Template
) -> None:
    ada, eve = new_user(installation), new_user(installation)
    with (
        template.copy() as name,
        start_service(template.service_url(name), BETTER_AUTH_URL=installation.url) as service,
    ):
        async with httpx.AsyncClient(base_url=service.url, headers=BROWSER, timeout=30) as client:
            api = Api(client)
            task = await api.task(ada)
            assert task["user_id"] == ada.id
            assert (await api.list_tasks(ada)).json() == {"tasks": [task]}
            assert (await api.list_tasks(eve)).json() == {"tasks": []}


async def test_a_second_user_sees_no_tasks_of_the_first(api: Api, installation: BetterAuth) -> None:
    ada, eve, local = new_user(installation), new_user(installation), api.user()
    task = await api.task(ada)
    for stranger in (eve, local):
        assert (await api.list_tasks(stranger)).json() == {"tasks": []}
        assert_error(await api.get_task(stranger, task["id"]), 404, "Task not found")
        assert_error(await api.update_task(stranger, task["id"], title="x"), 404, "Task not found")
        assert_error(await api.delete_task(stranger, task["id"]), 404, "Task not found")
    changed = (await api.update_task(ada, task["id"], completed=True)).json()["task"]
    assert (await api.get_task(ada, task["id"])).json() == {"task": changed}
    assert (await api.delete_task(ada, task["id"])).status_code == 204


async def test_only_the_first_task_inserts_the_user(
    api: Api, installation: BetterAuth, owner: psycopg.Connection
) -> None:
    ada = new_user(installation)
    await api.list_tasks(ada)
    for answer in (await api.get_task(ada, ada.id), await api.update_task(ada, ada.id, title="x")):
        assert_error(answer, 404, "Task not found")
    assert_error(await api.delete_task(ada, ada.id), 404, "Task not found")
    assert_error(await api.create_task(ada, title=""), 400, "Title is required")
    assert owner.execute("select * from users").fetchall() == []
    answers = await asyncio.gather(*(api.create_task(ada) for _ in range(12)))
    assert {answer.status_code for answer in answers} == {201}
    assert owner.execute("select id::text, email, password_hash from users").fetchall() == [(ada.id, None, None)]
    assert len((await api.list_tasks(ada)).json()["tasks"]) == 12


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.AFTER])
async def test_a_connection_lost_during_the_first_task_does_not_affect_the_client(
    installation: BetterAuth, template: Template, database_name: str, moment: Moment
) -> None:
    url = template._replace(pooler="").service_url(database_name)
    async with postgres_proxy(url) as proxy, serve(settings(proxy.url(), better_auth_url=installation.url)) as api:
        ada = new_user(installation)
        proxy.cut("create_task_checked", moment)
        task = await api.task(ada)
        assert not proxy.cuts_left
        assert (await api.list_tasks(ada)).json() == {"tasks": [task]}


async def test_every_task_is_one_statement(api: Api, installation: BetterAuth, statements: list[str]) -> None:
    ada = new_user(installation)
    await api.task(ada)
    await api.task(ada)
    await api.list_tasks(ada)
    assert statements == ["find_token_cutoffs", "create_task_checked", "create_task_checked", "list_tasks"]


async def test_an_account_with_the_same_email_is_another_user(api: Api, installation: BetterAuth) -> None:
    email = f"{uuid.uuid4()}@example.com"
    account = (await api.sign_up(email)).json()
    local = User(account["user"]["id"], email, account["token"])
    task = await api.task(local)
    there = installation.sign_up(email).user()
    assert there.id != local.id
    assert (await api.list_tasks(there)).json() == {"tasks": []}
    await api.task(there)
    assert (await api.list_tasks(local)).json() == {"tasks": [task]}
    assert (await api.log_in(email)).json()["user"]["id"] == local.id


async def test_a_hs256_token_of_an_unknown_user_inserts_no_user(
    api: Api, installation: BetterAuth, owner: psycopg.Connection
) -> None:
    ada = new_user(installation)
    gone = api.user()
    owner.execute("delete from users")
    for user_id in (ada.id, gone.id):
        assert_error(await api.create_task(User(user_id, "", token(user_id=user_id))), 401, "Unauthorized")
    assert owner.execute("select * from users").fetchall() == []


async def test_issuer_and_subject_together_identify_a_user(
    api: Api, installation: BetterAuth, better_auth_app: Path, database_url: str
) -> None:
    person = installation.sign_up(f"{uuid.uuid4()}@example.com")
    first, second = person.user(), person.user()
    task = await api.task(first)
    assert (await api.list_tasks(second)).json() == {"tasks": [task]}
    claims = jwt.decode(first.token, options={"verify_signature": False})
    assert (claims["sub"], claims["iss"], claims["aud"]) == (person.id, installation.url, installation.url)
    with start(better_auth_app) as other:
        stranger = new_user(other)
        assert await status(api, stranger) == 401
        async with serve(settings(database_url, better_auth_url=other.url)) as elsewhere:
            assert (await elsewhere.list_tasks(stranger)).json() == {"tasks": []}
            assert await status(elsewhere, first) == 401


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_tokens_of_every_algorithm_of_better_auth_are_accepted(
    better_auth_app: Path, database_url: str, alg: str
) -> None:
    with start(better_auth_app, alg=alg) as installation:
        user = new_user(installation)
        assert jwt.get_unverified_header(user.token)["alg"] == alg
        async with serve(settings(database_url, better_auth_url=installation.url)) as api:
            assert (await api.create_task(user)).status_code == 201


async def test_no_token_is_accepted_after_its_exp(better_auth_app: Path, database_url: str) -> None:
    with start(better_auth_app, life="5s") as installation:
        async with serve(settings(database_url, better_auth_url=installation.url)) as api:
            user = new_user(installation)
            expires = jwt.decode(user.token, options={"verify_signature": False})["exp"]
            assert await status(api, user) == 200
            await asyncio.sleep(expires - time.time() + 0.01)
            assert await status(api, user) == 401


async def test_tokens_stay_valid_while_better_auth_rotates_its_keys(
    better_auth_app: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(better_auth, "UNKNOWN_SECONDS", RETRY_SECONDS)
    with start(better_auth_app, rotation=1) as installation:
        person = installation.sign_up("ada@example.com")
        async with serve(settings(database_url, better_auth_url=installation.url)) as api:
            users = []
            for _ in range(3):
                users.append(person.user())
                assert await status(api, users[-1]) == 200
                await asyncio.sleep(1.1)
            assert len({jwt.get_unverified_header(user.token)["kid"] for user in users}) == 3
            # The old keys are still published for the tokens that they have signed.
            assert [await status(api, user) for user in users] == [200, 200, 200]


async def test_tokens_of_withdrawn_keys_are_refused(
    better_auth_app: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(better_auth, "UNKNOWN_SECONDS", RETRY_SECONDS)
    with start(better_auth_app) as installation:
        person = installation.sign_up("ada@example.com")
        async with serve(settings(database_url, better_auth_url=installation.url)) as api:
            before = person.user()
            task = await api.task(before)
            installation.withdraw_keys()
            after = person.user()
            await asyncio.sleep(RETRY_SECONDS)
            assert jwt.get_unverified_header(after.token)["kid"] != jwt.get_unverified_header(before.token)["kid"]
            assert (await api.list_tasks(after)).json() == {"tasks": [task]}
            # Without the key, its remembered token is refused.
            assert await status(api, before) == 401


async def test_tokens_work_again_after_the_key_server_was_down(
    better_auth_app: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(better_auth, "UNKNOWN_SECONDS", RETRY_SECONDS)
    with start(better_auth_app) as installation:
        person = installation.sign_up("ada@example.com")
        known, not_yet_seen, second = person.user(), person.user(), new_user(installation)
        async with serve(settings(database_url, better_auth_url=installation.url)) as api:
            assert await status(api, known) == 200
            # The key server hangs: it accepts connections and does not answer.
            installation.process.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            assert [await status(api, user) for user in (known, second)] == [200, 200]
            assert time.monotonic() - began < 1.9  # a request waits two seconds for it
            unknown = of_an_unknown_key(known)
            await asyncio.sleep(RETRY_SECONDS)
            assert_error(await api.list_tasks(unknown), 503, "Service temporarily unavailable")
            installation.process.kill()
            installation.process.wait()
            assert await status(api, not_yet_seen) == 200
            assert_error(await api.list_tasks(unknown), 503, "Service temporarily unavailable")
            with start(better_auth_app, installation.port) as again:
                assert again.url == installation.url
                await asyncio.sleep(RETRY_SECONDS)
                assert await status(api, new_user(again)) == 200
                assert_error(await api.list_tasks(unknown), 401, "Unauthorized")


async def test_the_service_starts_while_the_key_server_is_down(
    better_auth_app: Path, database_url: str, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(better_auth, "UNKNOWN_SECONDS", RETRY_SECONDS)
    with start(better_auth_app) as installation:
        early = new_user(installation)
    async with serve(settings(database_url, better_auth_url=installation.url), owner) as api:
        assert_error(await api.list_tasks(early), 503, "Service temporarily unavailable")
        assert await status(api, api.user()) == 200
        with start(better_auth_app, installation.port) as again:
            await asyncio.sleep(RETRY_SECONDS)
            assert await status(api, new_user(again)) == 200
            assert_error(await api.list_tasks(early), 401, "Unauthorized")
