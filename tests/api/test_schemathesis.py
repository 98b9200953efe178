"""Schemathesis with a few hundred requests and a fixed seed; tests/drills/test_schemathesis_long.py sends more."""

from pathlib import Path

from tests.support.databases import Template
from tests.support.fuzzing import run, target


def test_generated_requests_find_no_deviation_from_the_document(template: Template, tmp_path: Path) -> None:
    with target(template) as (service, user):
        assert run(service, user, tmp_path, 20, "--seed", "1").requests > 300
        log = service.log.read_text()
    assert '"status": 412' in log, "no condition was sent that did not match"
    assert '"status": 422' in log, "no Idempotency-Key was sent twice"
