"""Schemathesis with 10,000 requests and a seed that changes from run to run."""

import os
from pathlib import Path

from tests.support.databases import Template
from tests.support.fuzzing import run, target

EXAMPLES = int(os.environ.get("DRILL_SCHEMATHESIS_EXAMPLES", "2000"))
"""For each operation and phase; the least that makes 10,000 requests has some room here."""


def test_generated_requests_find_no_deviation_from_the_document(template: Template, tmp_path: Path) -> None:
    with target(template) as (service, user):
        report = run(service, user, tmp_path, EXAMPLES)
    print(report.output)
    print(f"Schemathesis: {report.requests} requests, no failure")
    assert EXAMPLES < 2000 or report.requests >= 10_000
