"""`make licences`: the packages that the service needs in production, with their licences and installed sizes.

A licence that is not listed below is an error, here and in the tests, until somebody has examined it.
"""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

REQUIREMENTS = Path(__file__).parent.parent / "requirements.txt"
# Free to use in a service whose source stays closed. The LGPL (psycopg) asks only that the package can be exchanged.
PERMITTED = {
    "0BSD", "Apache-2.0", "Apache Software License", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "ISC",
    "LGPL-3.0-only", "MIT", "MIT License", "MPL-2.0", "PSF-2.0", "The Unlicense (Unlicense)",
}  # fmt: skip


def packages() -> list[Distribution]:
    """The pinned packages, without those that this platform does not need."""
    found = []
    for name, marker in re.findall(r"^([\w.-]+)==[^\s;]+( ;)?", REQUIREMENTS.read_text("utf-8"), re.MULTILINE):
        try:
            found.append(distribution(name))
        except PackageNotFoundError:
            if not marker:
                raise
    return found


def licence(package: Distribution) -> str:
    """The licence in the package's metadata: License-Expression, a classifier, or the old field License."""
    metadata = package.metadata
    classifiers = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License")]
    said = [*metadata.get_all("License-Expression", []), " OR ".join(classifiers), *metadata.get_all("License", [])]
    return next(filter(None, said), "unknown")


def permitted(licence: str) -> bool:
    return all(any(one in PERMITTED for one in part.split(" OR ")) for part in licence.split(" AND "))


def size(package: Distribution) -> int:
    paths = (Path(str(file.locate())) for file in package.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> int:
    found = packages()
    for package in found:
        sys.stdout.write(f"{package.name:20} {package.version:12} {size(package) / 1e6:6.1f} MB  {licence(package)}\n")
    sys.stdout.write(f"{len(found)} packages{'':21} {sum(map(size, found)) / 1e6:8.1f} MB\n")
    refused = [package.name for package in found if not permitted(licence(package))]
    if refused:
        sys.stderr.write(f"Not among the permitted licences of {Path(__file__).name}: {', '.join(refused)}.\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
