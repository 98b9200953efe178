"""The status of GET /api/tasks with an Authorization header."""

from tests.support.answers import assert_error
from tests.support.api import Api


async def status(api: Api, authorization: str) -> int:
    response = await api.get("/api/tasks", headers={"Authorization": authorization})
    if response.status_code == 401:
        assert_error(response, 401, "Unauthorized")
    return response.status_code
