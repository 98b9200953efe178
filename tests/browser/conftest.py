"""A browser, a frontend with its own origin, and a service that allows this origin."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.chromium import Browser, Page, chromium
from tests.support.databases import Template
from tests.support.frontend import Frontend, origin
from tests.support.service_process import ServiceProcess, start_service

FAILURES = 2  # a low LOGIN_FAILURE_LIMIT, because each log-in takes a bcrypt check


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def frontend_origin() -> Iterator[str]:
    with origin(3000) as address:
        yield address


@pytest.fixture(scope="module")
def service(template: Template, service_database: str, frontend_origin: str) -> Iterator[ServiceProcess]:
    limits = {"FRONTEND_URL": frontend_origin, "LOGIN_FAILURE_LIMIT": str(FAILURES)}
    with start_service(template.service_url(service_database), **limits) as service:
        yield service


@pytest.fixture
def visit(browser: Browser, frontend_origin: str, service: ServiceProcess) -> Callable[..., Frontend]:
    """Opens the frontend's page in a new tab."""

    def visit(where: str = frontend_origin, api: str = service.url) -> Frontend:
        return Frontend(Page(browser, f"{where}/page.html"), api)

    return visit
