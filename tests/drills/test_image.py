"""The image, built from the Dockerfile and run with minimal rights."""

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from service.postgres.migrations import migrate
from tests.support.api import ORIGIN, PASSWORD, SECRET
from tests.support.commands import PROJECT
from tests.support.container_engine import Engine, engine
from tests.support.databases import at, database
from tests.support.programs import program
from tests.support.tls import free_port, postgres

pytestmark = pytest.mark.timeout(1800)  # the first run builds the base image

RESTRICTED = ("--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
NO_NAME = "54321:54321"
"""A uid and gid without names in the image, as OpenShift assigns them."""
# Lists the modules without compiled bytecode, which Python would compile again in each process.
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
    """The image of the committed files, with a .env file that must not get into it."""
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


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL that containers reach: by TCP, with a password."""
    with postgres(tls=False) as made:
        yield made.url("sslmode=disable", host="127.0.0.1")


@pytest.fixture
def empty_url(server: str) -> Iterator[str]:
    with database(server) as name:
        yield at(server, name)


@pytest.fixture
def database_url(empty_url: str) -> str:
    migrate(empty_url)
    return empty_url


@contextmanager
def container(docker: Engine, image: str, database_url: str, **values: str) -> Iterator[tuple[str, str]]:
    """Id and URL of a running container of the service, under a uid without a name."""
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


@pytest.mark.parametrize("user", ["10001:10001", NO_NAME])
def test_the_image_migrates_under_any_user(docker: Engine, image: str, empty_url: str, user: str) -> None:
    command = ("run", "--rm", f"--user={user}", *RESTRICTED, f"--env=DATABASE_URL={empty_url}", image)
    assert "0001.create-users applied" in docker.check(*command, "python", "-m", "service", "migrate")
    again = docker.check(*command, "python", "-m", "service", "migrate")
    assert again == "The database's schema is up to date: nothing to do."


def test_the_container_serves_accounts_tasks_and_metrics(docker: Engine, image: str, database_url: str) -> None:
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


def test_docker_stop_under_load_loses_nothing(docker: Engine, image: str, database_url: str) -> None:
    with container(docker, image, database_url, WORKERS="2") as (name, url):
        signed_up = httpx.post(f"{url}/api/auth/signup", json={"email": "ada@example.com", "password": PASSWORD})
        headers = {"Authorization": f"Bearer {signed_up.json()['token']}"}

        def create_until_it_is_gone(_: int) -> list[str]:
            """The ids of the tasks that were answered with 201."""
            made: list[str] = []
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
        with psycopg.connect(database_url) as owner:
            there = {str(row[0]) for row in owner.execute("select id from tasks")}
        assert len(acknowledged) > 100
        assert acknowledged == there
        assert docker.check("inspect", "--format={{.State.ExitCode}}", name) == "0"


def test_the_image_contains_what_it_needs_and_no_secrets(docker: Engine, image: str) -> None:
    def run(*command: str) -> str:
        return docker.check("run", "--rm", "--network=none", "--read-only", image, *command)

    assert run("sh", "-c", "id -u; id -g") == "10001\n10001"
    assert run("find", "/app", "-name", ".*", "-o", "-user", "10001") == ""
    assert run("python", "-c", WITHOUT_BYTECODE) == "[]"
    config = json.loads(docker.check("inspect", "--format={{json .Config}}", image))
    assert config["User"] == "10001:10001"
    # `BETTER_AUTH_URL` needs this package.
    assert run("python", "-c", "import jwt; print('EdDSA' in jwt.algorithms.get_default_algorithms())") == "True"


def test_settings_are_read_from_files_and_a_missing_data_dir_is_an_error(
    docker: Engine, image: str, tmp_path: Path
) -> None:
    """Secrets as files, as Docker and Kubernetes mount them."""
    tmp_path.chmod(0o755)
    (tmp_path / "database_url").write_text("postgresql://todo:todo@127.0.0.1:1/todo\n")
    (tmp_path / "better_auth_secret").write_text("too short\n")
    command = ["run", "--rm", f"--user={NO_NAME}", *RESTRICTED, f"--volume={tmp_path}:/run/secrets:ro"]
    status, output = docker.run(*command, image)
    assert status == 2 and output.startswith("BETTER_AUTH_SECRET must be at least 32 bytes long")
    (tmp_path / "better_auth_secret").write_text(SECRET)
    status, output = docker.run(*command, "--env=PORT=0", "--env=METRICS_PORT=9100", image)
    assert status == 2 and output.splitlines()[-1].startswith("METRICS_PORT needs a folder for temporary files"), output
