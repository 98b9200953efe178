"""The queue for bcrypt: its order, and which requests leave it. With one thread, the order is visible."""

import asyncio
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import bcrypt
import pytest
from starlette.requests import ClientDisconnect

from service.auth import passwords
from service.auth.passwords import Client, Passwords
from service.errors import ApiError
from tests.support.commands import PROJECT

pytestmark = pytest.mark.anyio

CHEAP = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()


async def stays() -> None:
    await asyncio.Event().wait()


OFFICE, HOME = Client("192.0.2.1", stays, math.inf), Client("192.0.2.2", stays, math.inf)


@pytest.fixture
async def queue(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Passwords]:
    """Passwords with one thread, which is busy with a check for some tenths of a second."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    made = Passwords()
    busy = asyncio.create_task(made.matches("x", None, Client("198.51.100.1", stays, math.inf)))
    await asyncio.sleep(0)
    assert made.queue == 1
    yield made
    await busy
    made.close()


async def test_log_ins_precede_sign_ups_and_networks_with_fewer_requests_come_first(queue: Passwords) -> None:
    done: list[str] = []

    async def log_in(name: str, client: Client) -> None:
        await queue.matches("x", CHEAP, client)
        done.append(name)

    async def sign_up(name: str, client: Client) -> None:
        await queue.hash("a password", client)
        done.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(sign_up("sign-up from the office", OFFICE))
        await asyncio.sleep(0)
        for number in range(3):
            group.create_task(log_in(f"log-in {number} from the office", OFFICE))
            await asyncio.sleep(0)
        group.create_task(log_in("log-in from home", HOME))
    assert done == [
        "log-in from home", "log-in 0 from the office", "log-in 1 from the office", "log-in 2 from the office",
        "sign-up from the office",
    ]  # fmt: skip


async def test_a_full_queue_drops_the_last_request_of_the_network_with_the_most(
    queue: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "FULL_SECONDS", 0.0)
    office = [asyncio.create_task(queue.matches("x", CHEAP, OFFICE)) for _ in range(passwords.QUEUE)]
    await asyncio.sleep(0)
    assert await queue.matches("x", CHEAP, HOME)
    results = await asyncio.gather(*office, return_exceptions=True)
    assert [isinstance(result, ApiError) for result in results] == [False] * (passwords.QUEUE - 1) + [True]


async def test_a_disconnected_client_leaves_the_queue(queue: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bcrypt, "hashpw", None)  # would be called
    left = asyncio.Event()

    async def leaves() -> None:
        await left.wait()

    waiting = asyncio.create_task(queue.hash("a password", Client("192.0.2.1", leaves, math.inf)))
    await asyncio.sleep(0)
    assert queue.queue == 2
    left.set()
    with pytest.raises(ClientDisconnect):
        await waiting
    assert queue.queue == 1


async def test_a_request_that_waits_too_long_in_the_queue_is_503(
    queue: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "LOG_IN_WAIT_SECONDS", 0.01)
    with pytest.raises(ApiError, match="temporarily unavailable"):
        await queue.matches("x", CHEAP, HOME)
    assert queue.queue == 1


async def test_no_request_waits_for_a_thread_beyond_its_deadline(queue: Passwords) -> None:
    soon = HOME._replace(deadline=asyncio.get_running_loop().time() + 0.01)
    for call in (queue.matches("x", CHEAP, soon), queue.hash("a password", soon)):
        with pytest.raises(ApiError, match="temporarily unavailable"):
            await call
    assert queue.queue == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
@pytest.mark.parametrize(("nice", "lowered"), [(0, 5), (10, 15), (17, 19)])
def test_the_threads_have_a_lower_priority_than_their_process_whatever_that_is(nice: int, lowered: int) -> None:
    """The kernel refuses a plain user who asks for a higher one: every sign-up would be 500."""
    code = "import os; from service.auth.passwords import _lower_priority; _lower_priority(); print(os.nice(0))"
    program = f"import os; os.setpriority(os.PRIO_PROCESS, 0, {nice}); {code}"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout == f"{lowered}\n", done.stderr
