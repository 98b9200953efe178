"""The image, built from the Dockerfile as it is and run as an operator would, with as few rights as a container can have."""

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psycopg
import pytest

from tests.support.api import ORIGIN, PASSWORD, SECRET
from tests.support.commands import PROJECT
from tests.support.container_engine import Engine, engine
from tests.support.databases import Template, database
from tests.support.programs import program
from tests.support.tls import free_port

RESTRICTED = ("--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
NO_NAME = "54321:54321"
"""User and group that the image knows nothing of, as OpenShift chooses them."""
# Modules that Python would compile anew in each process, for want of bytecode beside their source.
WITHOUT_BYTECODE = """
import os, sys
import service.app, service.cli, service.web.server, service.telemetry.metrics
cached = [getattr(module, "__cached__", None) for module in sys.modules.values()]
print([file for file in cached if file and not os.path.exists(file)])
"""


@pytest.fixture(scope="module")
def docker() -> Iterator[Engine]:
    with engine() as running:
        yield running


@pytest.fixture(scope="module")
def image(docker: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Built from what is committed, with a secret in a place where somebody may have left one."""
    context = tmp_path_factory.mktemp("context")
    files = subprocess.check_output([program("git"), "-C", PROJECT, "ls-files", "-z"], text=True).split("\0")
    for name in filter(None, files):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, context / name)
    (context / "service/.env").write_text("BETTER_AUTH_SECRET=planted\n")
    name = f"todo-test-{uuid.uuid4().hex[:8]}"
    docker.check("build", *docker.build_options, "--tag", name, context, seconds=600)
    yield name
    docker.run("rmi", name)


@contextmanager
def container(docker: Engine, image: str, database_url: str, **values: str) -> Iterator[tuple[str, str]]:
    """The id and the URL of a service that answers, under a user without a name."""
    port = free_port()
    values |= {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "FRONTEND_URL": ORIGIN, "PORT": str(port)}
    values |= {"HOST": "127.0.0.1", "LOGIN_FAILURE_LIMIT": "0"}
    options = [option for name, value in values.items() for option in ("--env", f"{name}={value}")]
    name = docker.check("run", "--detach", f"--user={NO_NAME}", "--tmpfs=/tmp", *RESTRICTED, *options, image)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not answers(f"{url}/health"):
            assert time.monotonic() < deadline, docker.run("logs", name)
            time.sleep(0.1)
        yield name, url
    finally:
        docker.run("rm", "--force", name)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("user", ["", NO_NAME])
def test_it_migrates_under_any_user(docker: Engine, image: str, server: str, template: Template, user: str) -> None:
    with database(server) as empty:
        url = template.owner_url(empty)
        options = [f"--user={user}"] if user else []
        command = ("run", "--rm", *RESTRICTED, *options, f"--env=DATABASE_URL={url}", image)
        assert "0001.create-users applied" in docker.check(*command, "python", "-m", "service", "migrate")
        again = docker.check(*command, "python", "-m", "service", "migrate")
        assert again == "The database's schema is up to date: nothing to do."


def test_an_account_a_task_and_the_figures(docker: Engine, image: str, database_url: str) -> None:
    metrics = free_port()
    with container(docker, image, database_url, WORKERS="2", METRICS_PORT=str(metrics)) as (name, url):
        signed_up = httpx.post(f"{url}/api/auth/signup", json={"email": "ada@example.com", "password": PASSWORD})
        headers = {"Authorization": f"Bearer {signed_up.json()['token']}"}
        created = httpx.post(f"{url}/api/tasks", json={"title": "Buy milk 🥛"}, headers=headers)
        assert (signed_up.status_code, created.status_code) == (201, 201)
        assert httpx.get(f"{url}/api/tasks", headers=headers).json()["tasks"] == [created.json()["task"]]
        assert "http_requests_total{" in httpx.get(f"http://127.0.0.1:{metrics}/metrics").text
        deadline = time.monotonic() + 60
        while docker.check("inspect", "--format={{.State.Health.Status}}", name) != "healthy":
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_a_stop_under_load_loses_nothing(
    docker: Engine, image: str, database_url: str, owner: psycopg.Connection
) -> None:
    with container(docker, image, database_url, WORKERS="2") as (name, url):
        signed_up = httpx.post(f"{url}/api/auth/signup", json={"email": "ada@example.com", "password": PASSWORD})
        headers = {"Authorization": f"Bearer {signed_up.json()['token']}"}

        def create_until_it_is_gone(_: int) -> list[str]:
            """The ids of the tasks that were answered with 201."""
            made = []
            with httpx.Client(base_url=url, headers=headers) as client:
                while True:
                    try:
                        answer = client.post("/api/tasks", json={"title": "Buy milk"})
                    except httpx.TransportError:
                        return made
                    assert answer.status_code == 201
                    made.append(answer.json()["task"]["id"])

        with ThreadPoolExecutor(8) as pool:
            lists = [pool.submit(create_until_it_is_gone, number) for number in range(8)]
            time.sleep(2)
            docker.check("stop", "--time=20", name)
        acknowledged = {task for made in lists for task in made.result()}
        there = {str(row[0]) for row in owner.execute("select id from tasks")}
        assert len(acknowledged) > 100
        assert acknowledged == there
        assert docker.check("inspect", "--format={{.State.ExitCode}}", name) == "0"


def test_what_it_contains(docker: Engine, image: str) -> None:
    def run(*command: str) -> str:
        return docker.check("run", "--rm", "--network=none", "--read-only", image, *command)

    assert run("sh", "-c", "id -u; id -g") == "10001\n10001"
    assert run("find", "/app", "-name", ".*", "-o", "-user", "10001") == ""
    assert run("python", "-c", WITHOUT_BYTECODE) == "[]"
    config = json.loads(docker.check("inspect", "--format={{json .Config}}", image))
    assert config["User"] == "10001:10001"
    # What `BETTER_AUTH_URL` needs.
    assert run("python", "-c", "import jwt; print('EdDSA' in jwt.algorithms.get_default_algorithms())") == "True"
