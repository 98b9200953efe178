"""Random sequences of valid and forged calls by several users; a model determines the expected answers.

MODEL_STEPS sets the number of steps. Up to the default, every run has the same steps; a longer run has new ones.
"""

import os

import pytest

from tests.support.databases import Template
from tests.support.model_run import USUAL_STEPS, run


@pytest.mark.timeout(3600)
def test_every_answer_and_the_database_agree_with_the_model(template: Template) -> None:
    run(template, int(os.environ.get("MODEL_STEPS", USUAL_STEPS)))
