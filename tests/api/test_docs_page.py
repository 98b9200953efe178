"""The docs page: self-contained, with a strict Content-Security-Policy, in a real browser."""

import base64
import hashlib
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.api import Api
from tests.support.programs import program
from tests.support.service_process import ServiceProcess
from tools.dump_openapi import WORDS


class Page(HTMLParser):
    """A parsed page: the text of its inline scripts and styles, and the addresses that a browser would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.addresses: list[str] = []
        self._inside: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self._inside = tag if tag in self.inline else None
        if self._inside:
            self.inline[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline[self._inside][-1] += data


@pytest.mark.anyio
async def test_the_docs_page_loads_and_runs_only_its_own_parts(api: Api) -> None:
    response = await api.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    page = Page(response.text)
    assert page.addresses == ["data:,"]
    for tag, texts in page.inline.items():
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert policy[f"{tag}-src"] == " ".join(f"'sha256-{digest}'" for digest in hashes)
    # Either one would move the point where a browser ends the script.
    assert not re.search("<!--|<script", "".join(page.inline["script"]), re.IGNORECASE)
    assert "sourceMappingURL" not in response.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True), ("gzip, deflate, br", True), ("br;q=1.0, gzip;q=0.8, *;q=0.1", True), ("*", True),
        ("GZIP", True),
        ("", False), ("identity", False), ("br", False), ("gzip;q=0", False), ("gzip; q=0.000, *", False),
        ("*;q=0", False),
    ],
)  # fmt: skip
async def test_clients_that_accept_gzip_get_a_third_of_the_bytes(api: Api, accepted: str, compressed: bool) -> None:
    response = await api.get("/docs", headers={"Accept-Encoding": accepted})
    assert response.headers.get("content-encoding") == ("gzip" if compressed else None)
    assert (int(response.headers["content-length"]) < 700_000) == compressed
    assert "Accept-Encoding" in response.headers["vary"]
    assert response.text.startswith("<!doctype html>"), "httpx has decompressed it"


def test_a_browser_shows_every_operation_without_errors(service: ServiceProcess, tmp_path: Path) -> None:
    switches = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    switches += f" disable-component-update disable-sync user-data-dir={tmp_path} enable-logging=stderr dump-dom"
    switches += " virtual-time-budget=20000"
    command = [program("chromium"), *(f"--{switch}" for switch in switches.split()), f"{service.url}/docs"]
    browser = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    shown = set(re.findall(r'id="operations-(?!tag-)\w+-(\w+)"', browser.stdout))
    assert shown == {operation["id"] for operation in WORDS["operations"]}
    assert "CONSOLE" not in browser.stderr
