"""Starting the service with bad settings: one sentence on stderr and a failing exit status."""

import os
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.bad_settings import BAD, GOOD, SECRET, URL, assert_sentence
from tests.support.commands import PROJECT, environment, finish, run, start

# The first bad value of each variable.
FIRST = [line for number, line in enumerate(BAD) if line[0] not in [name for name, _, _ in BAD[:number]]]


def sentence(result: tuple[int, str, str]) -> str:
    status, output, errors = result
    assert status != 0
    assert output == ""
    assert errors.count("\n") == 1
    return errors.removesuffix("\n")


@pytest.mark.parametrize(("name", "value", "begins"), FIRST, ids=[line[0] for line in FIRST])
def test_a_bad_value(tmp_path: Path, name: str, value: str, begins: str) -> None:
    assert_sentence(sentence(run(tmp_path, "service", **(GOOD | {name: value}))), begins)


def test_database_url_requires_the_secret(tmp_path: Path) -> None:
    assert_sentence(sentence(run(tmp_path, "service", DATABASE_URL=URL)), "BETTER_AUTH_SECRET is not set: ")


def test_without_the_embedded_folder_database_url_is_required(tmp_path: Path) -> None:
    for folder in ("service", "sql"):
        (tmp_path / folder).symlink_to(PROJECT / folder)
    result = run(tmp_path, "service", PYTHONPATH=str(tmp_path))
    assert_sentence(sentence(result), "DATABASE_URL is not set: ")


def test_better_auth_url_without_its_package_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("cryptography"):
            (tmp_path / "packages" / path.name).symlink_to(path)
    values = {
        "BETTER_AUTH_URL": "https://app.example.com",
        "PYTHONPATH": f"{tmp_path / 'packages'}{os.pathsep}{PROJECT}",
    }
    # -S: without site-packages, so that only these packages can be imported.
    command = [sys.executable, "-S", "-m", "service"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(**GOOD, **values), capture_output=True, text=True)
    said = sentence((done.returncode, done.stdout, done.stderr))
    assert said == "BETTER_AUTH_URL needs one more package: pip install -r requirements-jwks.txt."


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
def test_a_host_of_another_machine_is_an_error(tmp_path: Path, host: str) -> None:
    assert_sentence(sentence(run(tmp_path, "service", **(GOOD | {"HOST": host}))), f"HOST={host} is no address")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_sentence(sentence(run(tmp_path, "service", **(GOOD | {"PORT": port}))), f"PORT={port} is taken")


def test_a_service_without_its_database_logs_no_secret(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = start(tmp_path, "service", **(GOOD | {"PORT": str(port), "LOG_LEVEL": "debug"}))
    try:
        assert process.stdout is not None
        line = ""
        while "The service answers at" not in line:
            line = process.stdout.readline()
            assert line
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").read().startswith(b"HTTP/1.1 503")
    finally:
        process.terminate()
    _, output, errors = finish(process)
    assert "no connection to the database" in output + errors
    assert "hunter2" not in output + errors
    assert SECRET not in output + errors
