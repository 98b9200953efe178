"""Users do everything that the API offers, in any order, honestly and not; a dictionary says what must come of it.

MODEL_STEPS makes the run longer. Up to the default the steps are the same in every run, beyond it new in each.
"""

import os

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.databases import Template
from tests.live import start
from tests.machine import Machine
from tests.world import World

USUAL_STEPS = 1_200
STEPS_OF_ONE_SEQUENCE = 40


def run(template: Template, steps: int) -> None:
    """Takes at least so many steps; raises at the first difference, and prints the count in any case."""
    chosen = settings(
        max_examples=steps // (STEPS_OF_ONE_SEQUENCE - 4),
        stateful_step_count=STEPS_OF_ONE_SEQUENCE,
        # Without the search for a shorter case, which takes minutes: a sequence is short enough to be read.
        phases=[Phase.generate],
        report_multiple_bugs=False,
        derandomize=steps <= USUAL_STEPS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    with (
        template.copy() as name,
        start(template.service_url(name), LOGIN_FAILURE_LIMIT="0") as live,
        psycopg.connect(template.owner_url(name), autocommit=True) as owner,
    ):

        class Here(Machine):
            world = World(live.url, owner)

        try:
            while Here.world.steps < steps:  # most sequences are a little shorter
                run_state_machine_as_test(Here, settings=chosen)
        finally:
            print(f"\nmodel test: {Here.world.steps} steps; {Here.world.difference or 'no difference'}")
            Here.world.close()


@pytest.mark.timeout(3600)
def test_every_answer_and_the_database_agree_with_the_model(template: Template) -> None:
    run(template, int(os.environ.get("MODEL_STEPS", USUAL_STEPS)))
