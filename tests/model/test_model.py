"""Users do everything that the API offers, in any order, honestly and not; a model says what the answer must be.

MODEL_STEPS makes the run longer. Up to the default the steps are the same in every run, beyond it new in each.
"""

import os

import pytest

from tests.support.databases import Template
from tests.support.model_run import USUAL_STEPS, run


@pytest.mark.timeout(3600)
def test_every_answer_and_the_database_agree_with_the_model(template: Template) -> None:
    run(template, int(os.environ.get("MODEL_STEPS", USUAL_STEPS)))
