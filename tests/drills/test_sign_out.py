"""After a sign-out under load, on two workers: no request with an old token succeeds after 30 seconds."""

import asyncio
import itertools
import time
from pathlib import Path

import psycopg
import pytest

from service.auth.tokens import RECHECK_SECONDS
from tests.support import commands
from tests.support.api import insert_user, token
from tests.support.databases import Template
from tests.support.flooders import Client
from tests.support.service_process import start_service

CLIENTS, PAUSE_SECONDS = 16, 0.02


@pytest.mark.anyio
async def test_no_old_token_works_after_thirty_seconds(template: Template) -> None:
    with template.copy() as name, start_service(template.service_url(name), WORKERS="2") as service:
        with psycopg.connect(template.owner_url(name), autocommit=True) as owner:
            ada, eve = insert_user(owner).id, insert_user(owner).id
        stop = asyncio.Event()
        tokens = {user: [token(user_id=user, n=number) for number in range(CLIENTS // 2)] for user in (ada, eve)}
        running = {
            user: [asyncio.create_task(lists(service.port, each, stop)) for each in tokens[user]] for user in (ada, eve)
        }
        await asyncio.sleep(5)
        command = ("service", "account", "sign-out", f"{ada}@example.com")
        status, _, errors = await asyncio.to_thread(
            commands.run, Path("/"), *command, DATABASE_URL=template.owner_url(name)
        )
        assert (status, errors) == (0, "")
        signed_out = time.monotonic()
        await asyncio.sleep(RECHECK_SECONDS + 5)
        stop.set()
        of_ada, of_eve = [list(itertools.chain(*await asyncio.gather(*running[user]))) for user in (ada, eve)]
    good = [sent - signed_out for sent, status in of_ada if status == 200]
    print(f"{len(of_ada)} requests with ended tokens: the last success {max(good):.2f} s after the sign-out")
    assert {status for _, status in of_ada} == {200, 401}
    assert {status for _, status in of_eve} == {200}
    assert max(good) < RECHECK_SECONDS
    assert min(sent - signed_out for sent, status in of_ada if status == 401) < RECHECK_SECONDS


async def lists(port: int, bearer: str, stop: asyncio.Event) -> list[tuple[float, int]]:
    """When each request was sent, and its status. Every other one is on a new connection, which any worker may take."""
    request = f"GET /api/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n\r\n".encode()
    answers: list[tuple[float, int]] = []
    client = await Client.connect(port)
    while not stop.is_set():
        sent = time.monotonic()
        answers.append((sent, (await client.call(request))[0]))
        if len(answers) % 2:
            client.close()
            client = await Client.connect(port)
        await asyncio.sleep(PAUSE_SECONDS)
    client.close()
    return answers
