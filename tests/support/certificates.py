"""Certificates for the servers that the tests start."""

import subprocess
from pathlib import Path

from tests.support.programs import program

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_certificate(folder: Path, *arguments: str) -> None:
    """Runs `openssl req -x509` with a new key and these arguments; paths are relative to `folder`."""
    subprocess.run([program("openssl"), "req", "-x509", *KEY, *arguments], cwd=folder, check=True, capture_output=True)
