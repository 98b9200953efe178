"""Signals that interrupt a test run; tests/process/test_test_runs.py tests SIGKILL."""

import signal

import pytest

from tests.support.interruptions import interrupt

WAYS = {
    "kill": (signal.SIGTERM,),
    "terminal closed": (signal.SIGHUP,),
    "Ctrl-C": (signal.SIGINT,),
    "Ctrl-C twice": (signal.SIGINT, signal.SIGINT),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("signals", WAYS.values(), ids=list(WAYS))
def test_an_interrupted_run_leaves_no_process_and_no_file(signals: tuple[signal.Signals, ...], workers: int) -> None:
    interrupt(*signals, workers=workers)
