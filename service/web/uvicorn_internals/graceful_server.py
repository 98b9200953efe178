"""One worker: uvicorn's Server, which accepts connections only when it is ready, and loses none when it stops."""

import asyncio
import contextlib
import functools
import logging
import os
import socket
from collections.abc import Callable

import uvicorn

from service.errors import StartError
from service.web.memory import return_freed_memory
from service.web.uvicorn_internals.connection import Connection

logger = logging.getLogger("service.web")


class Server(uvicorn.Server):
    """`on_ready` is called when it accepts connections."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        return_freed_memory()
        self._on_ready = on_ready
        self._files_reported = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """The application first, then listen(): until then the kernel refuses connections, and a proxy turns to
        another instance. Raises StartError if another process listens on the port by now."""
        host, port = sockets[0].getsockname()[:2] if sockets else (self.config.host, self.config.port)
        await super().startup(sockets)
        if sockets and sockets[0].fileno() < 0:  # uvloop closes a socket that it cannot listen on, and raises nothing
            await self.lifespan.shutdown()
            raise StartError(f"PORT={port} on {host} is taken by now: choose another.")
        if not self.should_exit:
            self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % 10 == 0:
            self._report_files()
        return await super().on_tick(counter)

    def _report_files(self) -> None:
        """Logs that no file can be opened: libuv then closes new connections without a word."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
            self._files_reported = False
        except OSError as error:
            if not self._files_reported:
                count = len(self.server_state.connections)
                logger.error("new connections are closed: %s, %d connections are open", error.strerror, count)
            self._files_reported = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts the connections that wait in the socket's queue first: uvicorn alone resets them."""
        waiting = []
        for sock in sockets or ():
            with contextlib.suppress(OSError):  # the queue is empty
                while True:
                    waiting.append(sock.accept()[0])
        for server in self.servers:
            server.close()
        new = functools.partial(Connection, self.config, self.server_state, self.lifespan.state)
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(new, connection)
        await asyncio.sleep(0)  # lets the last accepted socket become a connection
        await super().shutdown(sockets)
        if self.force_exit:  # a second Ctrl-C: uvicorn would cancel the application, which logs that as an error
            await self.lifespan.shutdown()
