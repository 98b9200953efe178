"""The licences of the packages in production: only permitted ones."""

from importlib.metadata import Distribution
from pathlib import Path

import pytest

from tools.licences import licence, packages, permitted, size

REFUSED = {
    "nothing": "",
    "GPL in the expression": "License-Expression: GPL-3.0-or-later",
    "AGPL beside MIT": "License-Expression: MIT AND AGPL-3.0-only",
    "GPL as a classifier": "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
    "GPL in the old field": "License: GPL",
    "a company's own": "License: Proprietary",
}


def test_every_package_has_a_permitted_licence() -> None:
    assert {package.name: text for package in packages() if not permitted(text := licence(package))} == {}
    assert len(packages()) > 20
    assert all(size(package) > 10_000 for package in packages())


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
def test_a_licence_that_is_not_permitted_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "METADATA").write_text(f"Metadata-Version: 2.4\nName: some\nVersion: 1\n{line}\n")
    assert not permitted(licence(Distribution.at(tmp_path)))


def test_a_choice_of_licences_is_permitted() -> None:
    assert permitted("GPL-2.0-only OR MIT")
