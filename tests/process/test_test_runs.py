"""Test runs: the environment does not change their results, and interrupted runs leave nothing behind."""

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

# Valid values, which would change the service, and invalid ones, which would stop it.
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
    "tests/process/test_settings_at_start.py::test_database_url_requires_the_secret",
    "tests/process/test_log.py::test_each_request_is_one_line_without_data_of_the_client",
    "tests/api/test_tasks.py::test_every_call_answers_the_same_form",
)


def test_variables_of_the_environment_and_a_listener_on_port_8000_change_no_test(server: str, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(PROJECT, clone, ignore=shutil.ignore_patterns(".*", "node_modules"))
    (clone / ".env").write_text("".join(f"{name}={value}\n" for name, value in SETTINGS.items()))
    values = {**SETTINGS, **{f"PG{name}": "nonsense" for name in LIBPQ}, **PROXIES, "TEST_DATABASE_URL": server}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SENSITIVE]
    with listener():
        done = subprocess.run(command, cwd=clone, env=os.environ | values, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def listener() -> socket.socket | nullcontext[None]:
    """Listens on the port of `make run`, unless it is in use."""
    try:
        return socket.create_server(("127.0.0.1", 8000))
    except OSError:
        return nullcontext()


@pytest.mark.timeout(300)  # the run starts a dozen programs
def test_a_killed_run_leaves_no_process_and_no_file() -> None:
    interrupt(signal.SIGKILL, workers=2)
