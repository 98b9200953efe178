"""`make schema`: writes sql/schema.sql, the result of all migrations. A test compares the two."""

import re
import subprocess
import tempfile
from pathlib import Path

from embedded.postgres import Embedded
from embedded.programs import find_programs
from service.postgres.migrations import migrate

SCHEMA = Path(__file__).parent.parent / "sql" / "schema.sql"
HEADER = "-- The result of all migrations, to read: `make schema` writes it, a test compares it, nothing runs it.\n\n"
# Lines without information for a reader.
NOISE = ("--", "\\", "SET ", "SELECT pg_catalog.set_config")


def dump(url: str) -> str:
    """The schema of a database as PostgreSQL's pg_dump writes it, without yoyo's tables, owners and privileges."""
    command = [
        str(find_programs() / "pg_dump"),
        "--schema-only",
        "--no-owner",
        "--no-privileges",
        "--restrict-key=schema",
    ]
    command += ["--exclude-table=*yoyo*", "--dbname", url]
    written = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    lines = re.sub("'[^']*'", _escaped, written).split("\n")
    paragraphs = "\n".join(line for line in lines if not line.startswith(NOISE)).split("\n\n")
    return HEADER + "\n\n".join(text.strip("\n") for text in paragraphs if text.strip("\n")) + "\n"


def _escaped(literal: re.Match[str]) -> str:
    """A literal whose control characters and unusual blanks are written as escapes, so that editors keep them."""
    if literal[0].isprintable():
        return literal[0]
    return "E" + "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in literal[0])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        embedded = Embedded(Path(folder), say=print)
        try:
            embedded.start()
            migrate(embedded.url)
            SCHEMA.write_text(dump(embedded.url), "utf-8")
        finally:
            embedded.stop()


if __name__ == "__main__":
    main()
