"""Whether it lives and whether it works: what probes and people ask first."""

import pytest

from tests.api import Api

pytestmark = pytest.mark.anyio


async def test_health_is_200_while_the_database_answers(api: Api) -> None:
    response = await api.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "healthy"})


async def test_livez_is_200(api: Api) -> None:
    response = await api.get("/livez")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


async def test_a_user_can_create_a_task(api: Api) -> None:
    await api.task(api.user())
