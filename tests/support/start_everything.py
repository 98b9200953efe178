"""A test that starts every kind of process and waits to be interrupted; tests/support/interruptions.py runs it."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import commands
from tests.support.chromium import chromium
from tests.support.databases import Template
from tests.support.nginx import nginx
from tests.support.pgbouncer import pgbouncer
from tests.support.service_process import start_service


def test_everything(template: Template, database_name: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:

        def start(what: Callable[[], contextlib.AbstractContextManager[object]]) -> None:
            with contextlib.suppress(pytest.skip.Exception):  # its program is not installed
                stack.enter_context(what())

        service = stack.enter_context(start_service(template.owner_url(database_name), WORKERS="2"))
        start(lambda: nginx(service.port))
        start(lambda: pgbouncer(template.server, template.role, template.password))
        start(chromium)
        own = stack.enter_context(commands.start(tmp_path, "service", PORT="0", DATA_DIR="data"))
        assert own.stdout
        while "answers at" not in own.stdout.readline():
            assert own.poll() is None
        Path(os.environ["READY"]).touch()
        time.sleep(600)
