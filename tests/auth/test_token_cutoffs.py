"""Tokens that end before their `exp` (sign-out, deleted account): where and when, and the number of statements."""

import asyncio
import time
import uuid
from collections.abc import Callable

import psycopg
import pytest

from service.auth import token_cutoffs, tokens
from tests.support.answers import assert_error
from tests.support.api import Api, User, serve, settings, token

pytestmark = pytest.mark.anyio

EndTokens = Callable[[User], None]
CHECK, RECHECK = "find_token_cutoffs", "find_new_token_cutoffs"


@pytest.fixture
def end_tokens(owner: psycopg.Connection) -> EndTokens:
    """Ends all tokens that a user has got until now, as the account commands do."""

    def end(user: User) -> None:
        insert = "insert into token_cutoffs values (%s, date_trunc('second', now()) + interval '1 second')"
        owner.execute(insert + " on conflict (user_id) do update set valid_from = excluded.valid_from", (user.id,))

    return end


def short(monkeypatch: pytest.MonkeyPatch) -> float:
    """Replaces the 30 and 15 seconds by short times; returns for how long a check is valid."""
    monkeypatch.setattr(tokens, "RECHECK_SECONDS", 1.0)
    monkeypatch.setattr(token_cutoffs, "NEW_SECONDS", 0.5)
    return 1.01


async def test_an_ended_token_is_401_on_every_call(
    api: Api, end_tokens: EndTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = short(monkeypatch)
    user = api.user()
    task = (await api.task(user))["id"]
    end_tokens(user)
    assert (await api.list_tasks(user)).status_code == 200, "the token is cached"
    await asyncio.sleep(seconds)
    for answer in (
        await api.list_tasks(user),
        await api.create_task(user),
        await api.get_task(user, task),
        await api.update_task(user, task, title="x"),
        await api.delete_task(user, task),
    ):
        assert_error(answer, 401, "Unauthorized")
    assert (await api.list_tasks(api.user())).status_code == 200


async def test_another_worker_refuses_an_ended_token(api: Api, end_tokens: EndTokens, database_url: str) -> None:
    user = api.user()
    assert (await api.list_tasks(user)).status_code == 200
    end_tokens(user)
    async with serve(settings(database_url)) as another:
        assert_error(await another.list_tasks(user), 401, "Unauthorized")


async def test_tokens_of_a_deleted_account_end(api: Api, end_tokens: EndTokens, owner: psycopg.Connection) -> None:
    user = api.user()
    owner.execute("delete from users where id = %s", (user.id,))
    end_tokens(user)
    assert_error(await api.list_tasks(user), 401, "Unauthorized")


async def test_a_log_in_in_the_second_of_the_sign_out_gets_a_valid_token(
    api: Api, end_tokens: EndTokens, owner: psycopg.Connection
) -> None:
    """`iat` has whole seconds, so the cutoff is up to a second in the future."""
    account = (await api.sign_up("ada@example.com")).json()
    old = User(account["user"]["id"], "ada@example.com", account["token"])
    end_tokens(old)
    new = old._replace(token=(await api.log_in("ada@example.com")).json()["token"])
    assert_error(await api.list_tasks(old), 401, "Unauthorized")
    assert (await api.list_tasks(new)).status_code == 200


async def test_tokens_without_iat_end_and_later_tokens_do_not(api: Api, end_tokens: EndTokens) -> None:
    user = api.user()
    end_tokens(user)
    without, later = (
        user._replace(token=token(user_id=user.id.upper(), iat=iat)) for iat in (None, int(time.time()) + 2)
    )
    assert_error(await api.list_tasks(without), 401, "Unauthorized")
    assert (await api.list_tasks(later)).status_code == 200


async def test_concurrent_requests_with_one_token_share_one_lookup(
    api: Api, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = short(monkeypatch)
    user = api.user()
    for rechecks in (0, 1):
        await asyncio.gather(*(api.list_tasks(user) for _ in range(30)))
        assert (statements.count(CHECK), statements.count(RECHECK)) == (1, rechecks)
        await asyncio.sleep(seconds)


async def test_one_statement_checks_all_remembered_tokens_again(
    api: Api, end_tokens: EndTokens, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = short(monkeypatch)
    users = [api.user() for _ in range(40)]
    for user in users:
        assert (await api.list_tasks(user)).status_code == 200
    end_tokens(users[0])
    await asyncio.sleep(seconds)
    statements.clear()
    answers = await asyncio.gather(*(api.list_tasks(user) for user in users))
    assert [answer.status_code for answer in answers] == [401] + [200] * 39
    assert statements.count(RECHECK) == 1
    assert CHECK not in statements


async def test_a_token_that_was_ended_before_the_start_stays_ended(
    api: Api, end_tokens: EndTokens, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new cutoffs do not contain it."""
    seconds = short(monkeypatch)
    user, iat = api.user(), int(time.time()) - 7200
    old = user._replace(token=token(user_id=user.id, iat=iat))
    owner.execute("insert into token_cutoffs values (%s, now() - interval '1 hour')", (user.id,))
    for _ in range(3):
        assert_error(await api.list_tasks(old), 401, "Unauthorized")
        await asyncio.sleep(seconds)


async def test_lookups_of_many_tokens_share_statements(api: Api, statements: list[str]) -> None:
    answers = await asyncio.gather(*(api.list_tasks(api.user()) for _ in range(40)))
    assert [answer.status_code for answer in answers] == [200] * 40
    assert statements.count(CHECK) <= 3
    assert statements.count("list_tasks") == 40


async def test_an_ended_token_is_not_looked_up_for_each_request(
    api: Api, end_tokens: EndTokens, statements: list[str]
) -> None:
    user = api.user()
    end_tokens(user)
    for _ in range(5):
        assert_error(await api.list_tasks(user), 401, "Unauthorized")
    assert statements == [CHECK]


async def test_without_the_database_a_valid_token_is_503_and_an_invalid_one_401(api_without_database: Api) -> None:
    user = str(uuid.uuid4())
    assert_error(await api_without_database.list_tasks(User(user, "", token(user_id=user))), 503)
    assert_error(
        await api_without_database.list_tasks(
            User(user, "", token("another secret, but a long one too", user_id=user))
        ),
        401,
    )
