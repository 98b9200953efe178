"""The backup commands of specs/operations.md, run on a database in use."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from embedded.programs import find_programs
from tests.support.api import PASSWORD
from tests.support.commands import PROJECT, environment
from tests.support.databases import Template, database
from tests.support.service_process import start_service

ADA = {"email": "ada@example.com", "password": PASSWORD}


@pytest.fixture
def empty(template: Template) -> Iterator[str]:
    """The name of an empty database."""
    with database(template.server) as name:
        yield name


def commands_of_the_document(role: str, folder: Path) -> str:
    """The commands, with this test's role in place of todo_service: roles belong to the whole server."""
    (block,) = re.findall(r"^## Backup\n.*?```sh\n(.*?)```", (PROJECT / "specs/operations.md").read_text(), re.M | re.S)
    own_role = folder / "role.sql"
    own_role.write_text((PROJECT / "sql/role.sql").read_text().replace("todo_service", role))
    assert "make migrate" in block and "sql/role.sql" in block
    return (
        str(block)
        .replace("make migrate", f"{sys.executable} -m service migrate")
        .replace("sql/role.sql", str(own_role))
    )


def test_a_dump_of_a_database_in_use_has_every_task_acknowledged_before(
    template: Template, database_name: str, empty: str, tmp_path: Path
) -> None:
    acknowledged: list[str] = []
    enough, stop = threading.Event(), threading.Event()
    with start_service(template.service_url(database_name)) as service:
        account = httpx.post(f"{service.url}/api/auth/signup", json=ADA, timeout=20).json()
        token = {"Authorization": f"Bearer {account['token']}"}

        def create_without_pause() -> None:
            with httpx.Client(base_url=service.url, headers=token, timeout=20) as client:
                while not stop.is_set():
                    answer = client.post("/api/tasks", json={"title": "Buy milk"})
                    acknowledged.append(answer.raise_for_status().json()["task"]["id"])
                    if len(acknowledged) == 20:
                        enough.set()

        creating = threading.Thread(target=create_without_pause)
        creating.start()
        try:
            assert enough.wait(30)
            before = set(acknowledged)
            done = run_backup(template, database_name, empty, tmp_path)
        finally:
            stop.set()
            creating.join()
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
    assert len(acknowledged) > len(before)
    with start_service(template.service_url(empty)) as restored:
        tasks = httpx.get(f"{restored.url}/api/tasks", headers=token, timeout=20).json()["tasks"]
        assert before <= {task["id"] for task in tasks} <= set(acknowledged)
        assert httpx.post(f"{restored.url}/api/auth/login", json=ADA, timeout=20).status_code == 200
        created = httpx.post(f"{restored.url}/api/tasks", headers=token, json={"title": "Buy bread"}, timeout=20)
        assert created.status_code == 201


def run_backup(template: Template, name: str, empty: str, folder: Path) -> subprocess.CompletedProcess[str]:
    values = environment(MIGRATION_DATABASE_URL=template.owner_url(name), EMPTY_DATABASE_URL=template.owner_url(empty))
    values["PATH"] = f"{find_programs()}:{os.environ['PATH']}"
    script = f"set -e\n{commands_of_the_document(template.role, folder)}"
    return subprocess.run(
        ["/bin/sh", "-c", script], cwd=folder, env=values, capture_output=True, text=True, timeout=120, check=False
    )
