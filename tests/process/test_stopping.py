"""SIGTERM: open connections get one more answer, requests in progress are finished, new connections are refused."""

import contextlib
import signal
import socket
import time

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.support.api import insert_user
from tests.support.raw_http import LIVEZ, TASK, connect, post, sized
from tests.support.service_process import start_service


def wait_until_refused(port: int) -> None:
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            socket.create_connection(("127.0.0.1", port)).close()
            time.sleep(0.01)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stopping_service_answers_its_connections_and_accepts_no_others(
    database_url: str, owner: psycopg.Connection, workers: str
) -> None:
    unfinished = post(insert_user(owner).token, sized(TASK), body=TASK[:5])
    with start_service(database_url, WORKERS=workers) as service:
        process = psutil.Process(service.pid)
        with connect(service.port) as idle, connect(service.port) as silent, connect(service.port) as half:
            idle.send(LIVEZ)
            idle.answer(path="/livez")
            half.send(unfinished)
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            wait_until_refused(service.port)
            idle.send(LIVEZ)
            assert idle.answer(path="/livez").headers["connection"] == "close"
            assert idle.closed() and silent.closed()
            half.send(TASK[5:])
            assert half.answer("POST", "/api/tasks").status_code == 201
            assert half.closed()
        assert process.wait(20) == 0
