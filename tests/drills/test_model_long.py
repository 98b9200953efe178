"""A long run of the model test, and planted faults that it must find. `make drills ARGS=-s` shows the figures."""

import os

import pytest

from tests.support import planted_faults
from tests.support.databases import Template
from tests.support.model_run import run

STEPS = 20_000


def test_twenty_thousand_steps_agree_with_the_model(template: Template, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        run(template, int(os.environ.get("MODEL_STEPS", STEPS)))


def test_every_planted_fault_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        assert planted_faults.main() == 0
