"""`python -m service`: runs the service, and its development database where none is named; `migrate`, `rollback`."""

import argparse
import contextlib
import signal
import sys

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m service", description="The todo service and its database's schema."
    )
    parser.add_argument("command", nargs="?", default="run", choices=("run", "migrate", "rollback"))
    command = parser.parse_args().command
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as it is under nohup
        # The terminal was closed: as on SIGTERM, whoever handles that.
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        from service import cli  # not above: Ctrl-C must be quiet during this second, too

        return cli.do(command)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal was closed
            print("Stopped.", flush=True)  # noqa: T201 (for the person at the terminal)
        return 0 if command == "run" else 130


def _stop(*_: object) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # nothing may interrupt what is done on the way out
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
