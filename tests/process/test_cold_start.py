"""Requests wait for a database that is still starting, until their deadline."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.errors import ApiError
from service.postgres.pool import Pool, deadline_after
from service.postgres.queries import Query
from tests.support.outages import Outages

pytestmark = pytest.mark.anyio

PING = Query("ping", "select true as answers")


@pytest.fixture(scope="module")
def starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outages]:
    """A standby that refuses connections with 57P03, as a recovering server does, until it is promoted."""
    server = Outages(Path(tmp_path_factory.mktemp("starting")))
    try:
        server.start()
        server.stop()
        with (server.data / "postgresql.auto.conf").open("a") as file:
            file.write("hot_standby = off\n")
        (server.data / "standby.signal").touch()
        server.start()
        yield server
    finally:
        server.stop()


async def test_requests_wait_for_a_starting_server(starting: Outages) -> None:
    pool = Pool(starting.url, 2)
    began = time.monotonic()
    with pytest.raises(ApiError) as refused:
        await pool.fetch_one(PING, deadline=deadline_after(0.5))
    assert refused.value.status == 503
    assert 0.4 <= time.monotonic() - began < 4

    # Requests that are cancelled while they wait or connect release their places in the pool.
    cancelled = [asyncio.ensure_future(pool.fetch_one(PING, deadline=deadline_after())) for _ in range(6)]
    await asyncio.sleep(0.3)
    for call in cancelled:
        call.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)

    calls = [asyncio.ensure_future(pool.fetch_one(PING, deadline=deadline_after())) for _ in range(6)]
    await asyncio.sleep(0.5)
    assert not any(call.done() for call in calls)
    (starting.data / "promote").touch()
    starting.signal(signal.SIGUSR1)
    assert all([(await call)["answers"] for call in calls])
    await pool.close()
