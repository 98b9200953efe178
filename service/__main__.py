"""`python -m service`: runs the service, with a development database where none is set; migrate, rollback, account."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable


class StopSignals:
    """SIGINT, SIGTERM and SIGHUP, as long as no server handles them."""

    def __init__(self) -> None:
        self.received = False
        """KeyboardInterrupt alone does not tell: Python drops an exception that it raises inside a finalizer."""

    def end_the_process(self) -> None:
        """From now on a signal ends the process at once, with the status that shells report for it."""
        self._handle(lambda number, _: os._exit(128 + number))

    def raise_keyboard_interrupt(self) -> None:
        """From now on the first signal raises KeyboardInterrupt, and nothing interrupts the way out."""
        self._handle(self._stop)

    def ignore(self) -> None:
        """From now on signals do nothing, also while the interpreter ends."""
        self._handle(signal.SIG_IGN)

    def _handle(self, handler: "Callable[[int, object], None] | signal.Handlers") -> None:
        signal.signal(signal.SIGINT, handler)
        signal.signal(signal.SIGTERM, handler)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
            # The terminal was closed: as SIGTERM, whoever handles that at the time.
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))

    def _stop(self, *_: object) -> None:
        self.received = True
        # Not SIG_IGN: Python reports an error for a signal that came before and was not handled yet.
        self._handle(lambda *_: None)
        raise KeyboardInterrupt


def main() -> int:
    signals = StopSignals()
    # First of all, because process 1 of a container ignores every signal without a handler.
    signals.end_the_process()
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m service", description="The todo service and its database's schema."
    )
    commands = parser.add_subparsers(dest="command", metavar="run | migrate | rollback | account")
    for name in ("run", "migrate", "rollback"):
        commands.add_parser(name)
    account = commands.add_parser("account", description="One account, with the role that owns the tables.")
    account.add_argument("action", choices=("show", "export", "set-password", "sign-out", "delete"))
    account.add_argument("account", metavar="EMAIL", help="or the user's id")
    account.add_argument("--yes", action="store_true", help="delete without a question")
    parser.set_defaults(command="run")
    arguments = parser.parse_args()
    try:
        signals.raise_keyboard_interrupt()
        from service import cli  # not above: a signal must end the second that this takes without a traceback

        return cli.do(arguments, stopping=lambda: signals.received)
    except KeyboardInterrupt:
        signals.ignore()
        with contextlib.suppress(OSError):  # the terminal was closed
            print("Stopped.", flush=True)  # noqa: T201 (for the person at the terminal)
        return 0 if arguments.command == "run" else 130


if __name__ == "__main__":
    sys.exit(main())
