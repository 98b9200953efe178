"""The runs of these tests: what is set where they start changes nothing, and interrupted ones leave nothing behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from service.config import Settings
from tests.support.commands import PROJECT
from tests.support.interruptions import interrupt

# Good values, so that the service would obey them, and bad ones, which would stop it.
SETTINGS = {
    **dict.fromkeys((name.upper() for name in Settings.model_fields), "nonsense"),
    "LOG_LEVEL": "warning",
    "LOGIN_FAILURE_LIMIT": "1",
    "METRICS_PORT": "8000",
    "PORT": "8000",
    "WORKERS": "3",
}
LIBPQ = ("HOST", "HOSTADDR", "PORT", "DATABASE", "USER", "PASSWORD", "PASSFILE", "SERVICE", "OPTIONS", "SSLMODE", "TZ")
PROXIES = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"), "http://127.0.0.1:9")
SENSITIVE = (
    "tests/process/test_settings_at_start.py::test_a_database_of_ones_own_needs_the_secret",
    "tests/process/test_log.py::test_each_request_is_one_line_without_what_the_client_sent",
    "tests/api/test_tasks.py::test_every_call_answers_the_same_form",
)


def test_settings_libpqs_variables_proxies_and_a_listener_on_port_8000_change_nothing(
    server: str, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(PROJECT, clone, ignore=shutil.ignore_patterns(".*", "node_modules"))
    (clone / ".env").write_text("".join(f"{name}={value}\n" for name, value in SETTINGS.items()))
    values = {**SETTINGS, **{f"PG{name}": "nonsense" for name in LIBPQ}, **PROXIES, "TEST_DATABASE_URL": server}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SENSITIVE]
    with listener():
        done = subprocess.run(command, cwd=clone, env=os.environ | values, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def listener() -> socket.socket | nullcontext[None]:
    """On the port of `make run`, unless that runs already."""
    try:
        return socket.create_server(("127.0.0.1", 8000))
    except OSError:
        return nullcontext()


@pytest.mark.timeout(300)  # it starts a dozen programs
def test_a_killed_run_leaves_no_process_and_no_file() -> None:
    interrupt(signal.SIGKILL, workers=2)
