"""A network of two hosts, this machine and a network namespace, that can be made to lose every packet."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.commands import PROJECT
from tests.support.programs import missing, program

OURS, THEIRS = "10.213.77.1", "10.213.77.2"
MAC = "02:00:00:00:00:02"


class Network:
    def __init__(self, name: str) -> None:
        self.name = name
        self._ip = program("ip")

    def ip(self, *arguments: str) -> None:
        subprocess.run([self._ip, *arguments], check=True, capture_output=True)

    def stop(self) -> None:
        """Drops every packet silently; a link that is down would report an error to the sender."""
        self.ip("-n", self.name, "addr", "del", f"{THEIRS}/30", "dev", "theirs")

    def start(self) -> None:
        self.ip("-n", self.name, "addr", "add", f"{THEIRS}/30", "dev", "theirs")

    @contextmanager
    def relay(self, socket: Path) -> Iterator[str]:
        """Makes PostgreSQL's Unix socket reachable over the network; yields host and port."""
        inside = [self._ip, "netns", "exec", self.name, sys.executable, "-m", "tests.support.relay"]
        command = [*inside, THEIRS, "5432", str(socket)]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout and process.stdout.readline() == b"ready\n"
                yield f"{THEIRS}:5432"
            finally:
                process.terminate()


@contextmanager
def network() -> Iterator[Network]:
    if os.geteuid():
        missing("a network namespace needs root")
    network = Network(f"todo-{os.getpid()}")
    ours = f"todo{os.getpid() % 10**8}"
    try:
        network.ip("netns", "add", network.name)
        pair = ("link", "add", ours, "type", "veth", "peer", "name", "theirs", "address", MAC, "netns", network.name)
        network.ip(*pair)
        network.ip("addr", "add", f"{OURS}/30", "dev", ours)
        network.ip("link", "set", ours, "up")
        network.ip("neigh", "add", THEIRS, "lladdr", MAC, "dev", ours, "nud", "permanent")
        network.ip("-n", network.name, "link", "set", "theirs", "up")
        network.start()
        yield network
    finally:
        subprocess.run([program("ip"), "netns", "del", network.name], check=False, capture_output=True)
