"""Runs the model test."""

import psycopg
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.databases import Template
from tests.support.model_machine import Machine
from tests.support.model_world import World
from tests.support.service_process import start_service

USUAL_STEPS = 1_200
STEPS_OF_ONE_SEQUENCE = 40


def run(template: Template, steps: int) -> None:
    """Runs at least this many steps; raises at the first difference, and always prints the number of steps."""
    chosen = settings(
        max_examples=steps // (STEPS_OF_ONE_SEQUENCE - 4),
        stateful_step_count=STEPS_OF_ONE_SEQUENCE,
        # Without shrinking, which takes minutes; a sequence is short enough to be read.
        phases=[Phase.generate],
        report_multiple_bugs=False,
        derandomize=steps <= USUAL_STEPS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    with (
        template.copy() as name,
        start_service(template.service_url(name), LOGIN_FAILURE_LIMIT="0") as service,
        psycopg.connect(template.owner_url(name), autocommit=True) as owner,
    ):

        class Here(Machine):
            world = World(service.url, owner)

        try:
            while Here.world.steps < steps:  # most sequences are a little shorter
                run_state_machine_as_test(Here, settings=chosen)
        finally:
            print(f"\nmodel test: {Here.world.steps} steps; {Here.world.difference or 'no difference'}")
            Here.world.close()
