"""compose.yaml in an empty clone: PostgreSQL, the migration, the service and nginx."""

import subprocess
import uuid
from pathlib import Path

import httpx
import pytest

from tests.support.api import PASSWORD
from tests.support.commands import PROJECT
from tests.support.container_engine import Engine
from tests.support.programs import missing, program
from tests.support.tls import free_port

pytestmark = pytest.mark.timeout(1800)  # images are downloaded and built


def test_compose_starts_the_service_from_an_empty_clone(tmp_path: Path) -> None:
    port = free_port()
    docker = Engine(HTTP_PORT=str(port))
    for command in (("version",), ("compose", "version")):
        if docker.run(*command)[0]:
            missing(f"`docker {' '.join(command)}` fails: no container engine is running, or Compose is missing")
    clone = tmp_path / "todo"
    subprocess.run([program("git"), "clone", "--quiet", "--no-hardlinks", str(PROJECT), clone], check=True)
    before = sorted(clone.rglob("*"))
    compose = ("compose", "--project-directory", clone, "--project-name", f"todo-{uuid.uuid4().hex[:8]}")
    url = f"http://127.0.0.1:{port}"
    account = {"email": "ada@example.com", "password": PASSWORD}
    try:
        docker.check(*compose, "up", "--detach", "--wait", seconds=1500)
        assert httpx.get(f"{url}/health").json() == {"status": "healthy"}
        assert httpx.post(f"{url}/api/auth/signup", json=account).status_code == 201
        # New containers have new addresses; nginx keeps running and finds them.
        docker.check(
            *compose, "up", "--detach", "--wait", "--force-recreate", "--scale=service=2", "service", seconds=300
        )
        docker.check(*compose, "restart", "database", seconds=300)
        docker.check(*compose, "up", "--detach", "--wait", "--scale=service=2", seconds=300)
        assert {httpx.post(f"{url}/api/auth/login", json=account).status_code for _ in range(4)} == {200}
        role = docker.check(
            *compose, "exec", "service", "cut", "--delimiter=:", "--fields=2", "/run/secrets/database_url"
        )
        assert role == "//todo_service"
        assert sorted(clone.rglob("*")) == before, "the containers write nothing into the clone"
    finally:
        docker.run(*compose, "down", "--volumes", "--rmi=local", seconds=300)
