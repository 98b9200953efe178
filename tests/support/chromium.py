"""Chromium, controlled over the DevTools protocol: JSON messages through a pipe, each with a NUL at its end."""

import base64
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.programs import program

SWITCHES = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "remote-debugging-pipe",
    # Only these host names are resolved, so that every use of the internet fails.
    "host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
)  # fmt: skip
PATIENCE = 30  # seconds: the machine may be busy
Message = dict[str, Any]


class Browser:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._to, self._from = process.stdin, process.stdout
        self._count = 0
        self._unread = b""
        self.events: list[Message] = []

    def do(self, method: str, session: str | None = None, **parameters: Any) -> Message:
        """Sends a command and returns its result; stores the events that arrive meanwhile."""
        self._count += 1
        command: Message = {"id": self._count, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        self._to.write(json.dumps(command).encode() + b"\0")
        self._to.flush()
        while (message := self._next()).get("id") != self._count:
            self.events.append(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        result: Message = message["result"]
        return result

    def _next(self) -> Message:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._unread:
            if not select.select([self._from], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"the browser said nothing for {PATIENCE} seconds")
            if not (read := os.read(self._from.fileno(), 1 << 16)):
                raise RuntimeError("the browser ended")
            self._unread += read
        text, self._unread = self._unread.split(b"\0", 1)
        message: Message = json.loads(text)
        return message


class Page:
    """A tab with empty caches, so that its first call needs a preflight."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        context = browser.do("Target.createBrowserContext")["browserContextId"]
        target = browser.do("Target.createTarget", url="about:blank", browserContextId=context, width=1200, height=1000)
        self._session = browser.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.do(f"{domain}.enable")
        self.do("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState == 'complete'")

    def do(self, method: str, **parameters: Any) -> Message:
        return self._browser.do(method, self._session, **parameters)

    def events(self, method: str) -> list[Message]:
        """The parameters of this page's events of one kind until now."""
        self.evaluate("0")  # earlier events arrive before the answer to this command
        found = (event for event in self._browser.events if event.get("sessionId") == self._session)
        return [event["params"] for event in found if event["method"] == method]

    def requests(self) -> list[tuple[str, str]]:
        """Method and URL of all requests of the page, preflights included."""
        asked = [event["request"] for event in self.events("Network.requestWillBeSent")]
        return [(request["method"], request["url"]) for request in asked]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self.do("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"{expression} did not become true in {PATIENCE} seconds"
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        found = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"!!{found}")
        self.evaluate(f"{found}.click()")

    def write(self, selector: str, text: str) -> None:
        """Replaces the text of an input, as typing does."""
        self.wait(f"!!document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.do("Input.insertText", text=text)

    def screenshot(self, before: str) -> bytes:
        """The page from its top to the element of this selector."""
        width = self.evaluate("document.documentElement.clientWidth")
        height = self.evaluate(f"document.querySelector({before!r}).getBoundingClientRect().top + scrollY")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        answer = self.do("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(answer["data"])


@contextmanager
def chromium() -> Iterator[Browser]:
    with tempfile.TemporaryDirectory(prefix="todo-browser-", ignore_cleanup_errors=True) as profile:
        switches = [f"--{switch}" for switch in (*SWITCHES, f"user-data-dir={profile}")]
        # Chromium reads commands from 3 and writes to 4.
        command = ["sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null', "sh", program("chromium"), *switches]
        with (Path(profile) / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        with process:
            try:
                yield Browser(process)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
