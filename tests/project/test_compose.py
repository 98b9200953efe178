"""compose.yaml and its mounted files, checked without a container engine; tests/drills/test_compose.py runs it."""

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

# Docker's default address pools, which networks without a subnet of their own get, and its IPv6 range.
DOCKERS_NETWORKS = ["172.17.0.0/16", "172.18.0.0/16", "172.20.0.0/14", "172.24.0.0/14", "172.28.0.0/14"]
DOCKERS_NETWORKS += ["192.168.0.0/20", "192.168.240.0/20", "fd00::/8"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((PROJECT / "compose.yaml").read_text("utf-8")))


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """For each path in the container, the file of this project or the volume."""
    return {place: source for source, place, *_ in (mount.split(":") for mount in service.get("volumes", []))}


def test_mounted_files_exist_and_only_volumes_are_writable(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for mount in service.get("volumes", []):
            source, _, *mode = mount.split(":")
            if source.startswith("."):
                assert (PROJECT / source).exists(), mount
                assert mode == ["ro"], mount
            else:
                assert source in compose["volumes"], mount


def test_every_variable_of_compose_yaml_has_a_default(compose: dict[str, Any]) -> None:
    assert "${" in (text := (PROJECT / "compose.yaml").read_text("utf-8"))
    assert text.count("${") == text.count(":-"), "a variable without a default"


def test_the_long_running_services_restart(compose: dict[str, Any]) -> None:
    restarted = {name for name, service in compose["services"].items() if "restart" in service}
    assert restarted == {"database", "service", "nginx"}


def test_only_services_that_need_the_database_are_in_its_network(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert compose["networks"]["database"] == {"internal": True}
    assert {name for name, each in services.items() if "database" in each.get("networks", [])} == {
        "database", "migrate", "role", "service",
    }  # fmt: skip
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]
    assert services["nginx"]["ports"][0].startswith("127.0.0.1:")
    # Over TCP, because during initialisation a temporary server answers on the Unix socket.
    assert "--host=127.0.0.1" in services["database"]["healthcheck"]["test"]


def test_the_service_gets_only_its_own_roles_password(compose: dict[str, Any]) -> None:
    readers = {
        volume: {name for name, service in compose["services"].items() if volume in mounts(service).values()}
        for volume in ("owner", "service")
    }
    assert readers == {"owner": {"secrets", "database", "migrate", "role"}, "service": {"secrets", "role", "service"}}


def test_trusted_proxies_contain_all_of_dockers_networks(compose: dict[str, Any]) -> None:
    trusted = compose["services"]["service"]["environment"]["TRUSTED_PROXIES"].split(",")
    for network in map(ipaddress.ip_network, DOCKERS_NETWORKS):
        assert any(
            network.version == (known := ipaddress.ip_network(text)).version and network.subnet_of(known)  # type: ignore[arg-type]
            for text in trusted
        ), network


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_secrets_are_generated_once(tmp_path: Path) -> None:
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


def test_nginx_accepts_the_site_files_of_compose_yaml(database_url: str) -> None:
    """Without `resolve`, which needs nginx 1.27.3; Debian 12 has 1.22."""
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
