"""The docs page in a browser: it loads nothing from other servers, and "Try it out" works with a token."""

import json

from tests.support.api import PASSWORD
from tests.support.chromium import Browser, Page
from tests.support.docs_page import SCREENSHOT, open_docs, page_errors
from tests.support.service_process import ServiceProcess


def try_it_out(page: Page, operation: str, body: dict[str, str] | None = None) -> tuple[int, dict[str, object]]:
    """Opens an operation, sends it, and returns the answer as the page shows it."""
    block = f"[id^=operations-][id$=-{operation}]"
    page.click(f"{block} .opblock-summary-control")
    page.click(f"{block} .try-out__btn")
    if body is not None:
        page.write(f"{block} textarea.body-param__text", json.dumps(body))
    page.click(f"{block} .execute")
    answer = f"{block} .live-responses-table .response"
    page.wait(f"!!document.querySelector('{answer} .response-col_status')")
    status = page.evaluate(f"parseInt(document.querySelector('{answer} .response-col_status').innerText)")
    return status, json.loads(
        page.evaluate(f"document.querySelector('{answer} .response-col_description code').innerText")
    )


def test_the_docs_page_works_without_the_internet(browser: Browser, service: ServiceProcess) -> None:
    page = open_docs(browser, service.url)
    asked = {url for _, url in page.requests() if not url.startswith("data:")}
    assert asked == {f"{service.url}/docs", f"{service.url}/openapi.json"}
    assert page_errors(page) == []

    status, account = try_it_out(page, "signUp", {"email": "docs@example.com", "password": PASSWORD})
    assert status == 201
    page.click(".auth-wrapper .authorize")
    page.write(".auth-container input", str(account["token"]))
    page.click(".auth-btn-wrapper .authorize")
    page.click(".auth-btn-wrapper .btn-done")
    status, created = try_it_out(page, "createTask", {"title": "RawJSONResponse in the docs"})
    assert status == 201
    assert try_it_out(page, "listTasks") == (200, {"tasks": [created["task"]]})
    assert page_errors(page) == []


def test_the_readmes_screenshot_is_a_png() -> None:
    assert SCREENSHOT.read_bytes().startswith(b"\x89PNG")
