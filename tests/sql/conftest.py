"""A proxy in front of this test's database, which cuts connections when a test says so."""

from collections.abc import AsyncIterator

import pytest

from tests.support.databases import Template
from tests.support.postgres_proxy import PostgresProxy, postgres_proxy


@pytest.fixture
async def proxy(template: Template, database_name: str) -> AsyncIterator[PostgresProxy]:
    async with postgres_proxy(template._replace(pooler="").service_url(database_name)) as proxy:
        yield proxy
