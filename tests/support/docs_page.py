"""The docs page in a browser; run with the address of a service, it takes the README's screenshot."""

import sys
from pathlib import Path

from tests.support.chromium import Browser, Page, chromium

SCREENSHOT = Path(__file__).parents[2] / "specs" / "docs.png"


def open_docs(browser: Browser, service: str) -> Page:
    page = Page(browser, f"{service}/docs")
    page.wait("document.querySelectorAll('.opblock').length > 0")
    return page


def page_errors(page: Page) -> list[str]:
    """Messages in the page's console, and requests that failed."""
    messages = [str(event["entry"]["text"]) for event in page.events("Log.entryAdded")]
    messages += [
        str(event) for event in page.events("Runtime.exceptionThrown") + page.events("Runtime.consoleAPICalled")
    ]
    return messages + [str(event) for event in page.events("Network.loadingFailed")]


if __name__ == "__main__":
    with chromium() as browser:
        SCREENSHOT.write_bytes(open_docs(browser, sys.argv[1]).screenshot(before="section.models"))
