"""compose.yaml and the files that it mounts, without a container engine; tests/drills/test_compose.py runs it whole."""

import ipaddress
import os
import stat
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from service.postgres import connection_string
from tests.support.commands import PROJECT
from tests.support.nginx import nginx
from tests.support.service_process import start_service

# What Docker gives networks that name none: the default of "default-address-pools" and of IPv6.
DOCKERS_NETWORKS = ["172.17.0.0/16", "172.18.0.0/16", "172.20.0.0/14", "172.24.0.0/14", "172.28.0.0/14"]
DOCKERS_NETWORKS += ["192.168.0.0/20", "192.168.240.0/20", "fd00::/8"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((PROJECT / "compose.yaml").read_text("utf-8")))


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Place in the container -> file of this project or volume."""
    return {place: source for source, place, *_ in (mount.split(":") for mount in service.get("volumes", []))}


def test_what_it_mounts_exists_and_only_volumes_are_written(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for mount in service.get("volumes", []):
            source, _, *mode = mount.split(":")
            if source.startswith("."):
                assert (PROJECT / source).exists(), mount
                assert mode == ["ro"], mount
            else:
                assert source in compose["volumes"], mount


def test_nothing_has_to_be_set(compose: dict[str, Any]) -> None:
    assert "${" in (text := (PROJECT / "compose.yaml").read_text("utf-8"))
    assert text.count("${") == text.count(":-"), "a variable without a default"


def test_what_serves_is_started_again(compose: dict[str, Any]) -> None:
    restarted = {name for name, service in compose["services"].items() if "restart" in service}
    assert restarted == {"database", "service", "nginx"}


def test_the_database_is_reached_by_no_one_who_need_not(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert compose["networks"]["database"] == {"internal": True}
    assert {name for name, each in services.items() if "database" in each.get("networks", [])} == {
        "database", "migrate", "role", "service",
    }  # fmt: skip
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]
    assert services["nginx"]["ports"][0].startswith("127.0.0.1:")
    # Only the network can tell that the database is ready for it: a temporary server answers on the socket.
    assert "--host=127.0.0.1" in services["database"]["healthcheck"]["test"]


def test_the_service_knows_no_password_but_its_roles(compose: dict[str, Any]) -> None:
    readers = {
        volume: {name for name, service in compose["services"].items() if volume in mounts(service).values()}
        for volume in ("owner", "service")
    }
    assert readers == {"owner": {"secrets", "database", "migrate", "role"}, "service": {"secrets", "role", "service"}}


def test_every_network_of_dockers_is_trusted(compose: dict[str, Any]) -> None:
    trusted = compose["services"]["service"]["environment"]["TRUSTED_PROXIES"].split(",")
    for network in map(ipaddress.ip_network, DOCKERS_NETWORKS):
        assert any(
            network.version == (known := ipaddress.ip_network(text)).version and network.subnet_of(known)  # type: ignore[arg-type]
            for text in trusted
        ), network


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_secrets_are_made_once(tmp_path: Path) -> None:
    script = (PROJECT / "deploy/compose/make-secrets.sh").read_text("utf-8")
    for name in ("owner", "service"):
        (tmp_path / name).mkdir()
        script = script.replace(f"/{name}/", f"{tmp_path}/{name}/").replace(f" /{name}", f" {tmp_path}/{name}")
    subprocess.run(["sh", "-c", script], check=True)
    made = {file.relative_to(tmp_path): file.read_text() for file in tmp_path.glob("*/*")}
    for name, role in {"owner": "postgres", "service": "todo_service"}.items():
        password = made[Path(name, "password")]
        url = made[Path(name, "database_url")]
        connection_string.parse(url)
        assert (urlsplit(url).username, urlsplit(url).password) == (role, password)
        assert len(password) == 64
    assert len(made[Path("service/better_auth_secret")]) == 64
    assert len(set(made.values())) == len(made) == 5
    for file in tmp_path.glob("*/*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    subprocess.run(["sh", "-c", script], check=True)
    assert {file.relative_to(tmp_path): file.read_text() for file in tmp_path.glob("*/*")} == made


def test_nginx_serves_plain_http_with_these_files(database_url: str) -> None:
    """As far as nginx 1.22 can: `resolve` came with 1.27.3."""
    folder = PROJECT / "deploy/compose"
    upstream = (folder / "upstream.conf").read_text("utf-8")
    server = (folder / "server.conf").read_text("utf-8")
    assert "service:8000 resolve" in upstream
    with start_service(database_url, TRUSTED_PROXIES="127.0.0.1") as service:
        lines = [line for line in upstream.replace(" resolve", "").splitlines() if "resolver" not in line]
        site = {"upstream": "\n".join(lines).replace("service:8000", f"127.0.0.1:{service.port}")}
        site["server"] = server.replace("listen 80;", "listen 127.0.0.1:{port};")
        with nginx(**site) as proxy:
            answer = httpx.get(f"http://127.0.0.1:{proxy.port}/health")
    assert answer.json() == {"status": "healthy"}
