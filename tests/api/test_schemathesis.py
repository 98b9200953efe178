"""The service against its own document, on a fixed budget; the drill of the same name has a larger one."""

from pathlib import Path

from tests.support.databases import Template
from tests.support.fuzzing import run, target


def test_requests_made_up_from_the_document_find_nothing(template: Template, tmp_path: Path) -> None:
    with target(template) as (service, user):
        assert run(service, user, tmp_path, 20, "--seed", "1").requests > 300
