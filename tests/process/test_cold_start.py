"""A database that is still starting is waited for, within the budget."""

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
    """As while it recovers, it answers everybody with 57P03: a standby that serves nobody, until it is promoted."""
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


async def test_a_starting_server_is_waited_for(starting: Outages) -> None:
    pool = Pool(starting.url, 2)
    began = time.monotonic()
    with pytest.raises(ApiError) as refused:
        await pool.fetch_one(PING, deadline=deadline_after(0.5))
    assert refused.value.status == 503
    assert 0.4 <= time.monotonic() - began < 4

    # Cancelled while they wait, or wait for their turn, they give their room back.
    cancelled = [asyncio.ensure_future(pool.fetch_one(PING)) for _ in range(6)]
    await asyncio.sleep(0.3)
    for call in cancelled:
        call.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)

    calls = [asyncio.ensure_future(pool.fetch_one(PING)) for _ in range(6)]
    await asyncio.sleep(0.5)
    assert not any(call.done() for call in calls)
    (starting.data / "promote").touch()
    starting.signal(signal.SIGUSR1)
    assert all([(await call)["answers"] for call in calls])
    await pool.close()
