"""One of two instances behind nginx hangs: it accepts connections and answers nothing."""

import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor, wait

import psutil  # type: ignore[import-untyped]

from tests.support.answers import check
from tests.support.api import token
from tests.support.nginx import nginx
from tests.support.service_process import start_service

CLIENTS = 10
READ_SECONDS = 7
"""Seconds that nginx.conf waits for an answer."""
SECONDS = 20


def test_the_other_instance_answers(database_url: str) -> None:
    proxies = {"TRUSTED_PROXIES": "127.0.0.1"}
    with (
        start_service(database_url, **proxies) as first,
        start_service(database_url, **proxies) as second,
        nginx(first.port, second.port) as proxy,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        stopping = threading.Event()

        def lists(_: int) -> list[tuple[int, float]]:
            """Status and seconds of each request."""
            headers = {"Authorization": f"Bearer {token(user_id=str(uuid.uuid4()))}"}
            found = []
            with proxy.client(**headers) as page:
                while not stopping.is_set():
                    began = time.monotonic()
                    check(answer := page.get("/api/tasks"))
                    found.append((answer.status_code, time.monotonic() - began))
                    time.sleep(0.02)
            return found

        clients = [pool.submit(lists, number) for number in range(CLIENTS)]
        time.sleep(1)
        frozen = psutil.Process(second.pid)
        frozen.send_signal(signal.SIGSTOP)
        try:
            time.sleep(SECONDS)
        finally:
            stopping.set()
            wait(clients)
            frozen.send_signal(signal.SIGCONT)
        answers = [answer for client in clients for answer in client.result()]
    slow = [seconds for _, seconds in answers if seconds > READ_SECONDS - 1]
    failed = [status for status, _ in answers if status != 200]
    print(f"\n{len(answers)} requests, {len(slow)} slow ones of at most {max(seconds for _, seconds in answers):.1f} s")
    print(f"  {len(failed)} failed")
    # The first request of each client, and then one request of all clients per second.
    assert len(slow) <= CLIENTS + SECONDS + READ_SECONDS
    assert not failed
