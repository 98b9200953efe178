"""SIGTERM under load: every request that was sent is answered, and no process of the service is left."""

import asyncio
import json
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.support.api import PASSWORD, User, insert_user
from tests.support.databases import Template
from tests.support.load import CONNECTIONS
from tests.support.service_process import start_service, wait_until_gone

pytestmark = pytest.mark.anyio

LOAD_SECONDS = 2


@dataclass
class Clients:
    """Clients that count each request they send; half of them open a connection for each request."""

    port: int
    user: User
    statuses: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Runs until the service accepts no connection any more."""
        await asyncio.gather(*(self._work(number) for number in range(CONNECTIONS)))

    async def _work(self, number: int) -> None:
        request = self._request(number)
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionError:
                return
            last = False
            while not last:
                began = time.monotonic()
                try:
                    writer.write(request)
                    last = await self._answer(reader) or number % 2 == 1
                except (OSError, asyncio.IncompleteReadError) as error:
                    self.lost.append(f"client {number} after {time.monotonic() - began:.3f} s: {error!r}")
                    last = True
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bool:
        """Reads the answer to one request; returns whether it closes the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))
        self.statuses[int(head[9:12])] += 1
        return b"connection: close" in head

    def _request(self, number: int) -> bytes:
        """One request in eight is a log-in, which takes a quarter of a second; half of the others write."""
        token = f"Authorization: Bearer {self.user.token}"
        method, path, token, body = {
            0: ("POST", "/api/auth/login", "X: y", json.dumps({"email": "eve@example.com", "password": PASSWORD})),
            1: ("POST", "/api/tasks", token, '{"title": "Buy milk"}'),
            2: ("POST", "/api/tasks", token, '{"title": "Buy milk"}'),
        }.get(number % 8, ("GET", "/api/tasks?of=nobody", token, ""))
        head = [f"{method} {path} HTTP/1.1", "Host: todo.example.com", token, f"Content-Length: {len(body)}"]
        return "\r\n".join([*head, "", body]).encode()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sigterm_under_load_loses_no_answer(template: Template, workers: str) -> None:
    with (
        template.copy() as name,
        start_service(template.service_url(name), WORKERS=workers, LOGIN_FAILURE_LIMIT="0") as service,
        psycopg.connect(template.owner_url(name), autocommit=True) as owner,
    ):
        clients = Clients(service.port, insert_user(owner))
        load = asyncio.create_task(clients.run())
        await asyncio.sleep(LOAD_SECONDS)
        process = psutil.Process(service.pid)
        workers_of_it = set(process.children(recursive=True))
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(process.wait, 30)
        seconds = time.monotonic() - began
        await load
        row = owner.execute("select count(*) from tasks").fetchone()
        print(f"\nSIGTERM, {workers} workers: status {status} after {seconds:.1f} s, {clients.statuses} answered,")
        print(f"  {len(clients.lost)} lost {clients.lost[:3]}")
        assert (status, clients.lost) == (0, [])
        assert seconds < 20
        await asyncio.to_thread(wait_until_gone, workers_of_it)
        assert set(clients.statuses) <= {200, 201, 401, 503}  # 503: the queue for log-ins is full
        assert row == (clients.statuses[201],)


async def test_a_hanging_worker_does_not_prevent_the_stop(database_url: str) -> None:
    with start_service(database_url, WORKERS="2") as service:
        process = psutil.Process(service.pid)
        process.children()[-1].suspend()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert time.monotonic() - began < 20
