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


@pytest.mark.timeout(1800)
def test_every_answer_and_the_database_agree_with_the_model(template: Template) -> None:
    steps = int(os.environ.get("MODEL_STEPS", USUAL_STEPS))
    chosen = settings(
        max_examples=steps // STEPS_OF_ONE_SEQUENCE,
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
            run_state_machine_as_test(Here, settings=chosen)
        finally:
            print(f"\nmodel test: {Here.world.steps} steps")
            Here.world.close()
    assert Here.world.steps >= steps * 0.9
