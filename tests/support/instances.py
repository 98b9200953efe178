"""Instances of the service for a proxy; each can be replaced by a new one on the same port."""

import signal
from contextlib import ExitStack

import httpx
import psutil  # type: ignore[import-untyped]

from tests.support.service_process import ServiceProcess, start_service
from tests.support.tls import free_port


class Instance:
    """An instance that can be replaced by a new one on the same port."""

    def __init__(self, database_url: str) -> None:
        self.port = free_port()
        self._database_url = database_url
        self._stack = ExitStack()
        self._service: ServiceProcess

    def start(self, **settings: str) -> None:
        values = {"PORT": str(self.port), "WORKERS": "2", "TRUSTED_PROXIES": "127.0.0.1", "LOGIN_FAILURE_LIMIT": "0"}
        values |= settings
        self._service = self._stack.enter_context(start_service(self._database_url, **values))
        assert httpx.get(f"{self._service.url}/health").status_code == 200

    def stop(self) -> None:
        process = psutil.Process(self._service.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        self.remove()

    def remove(self) -> None:
        self._stack.close()
