"""The Python of all Python contestants: an optimised build if the machine has one."""

import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

from bench.database import ROOT

CACHE = Path(__file__).resolve().parent / ".cache"
DISTRIBUTION = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")


@cache
def chosen() -> tuple[str, str]:
    """The interpreter and a description of its build. Production uses optimised builds, so the benchmark does too."""
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        return sys.executable, "built with --enable-optimizations"
    # Debian and Ubuntu build with PGO and LTO, but remove these flags from sysconfig's variables.
    if DISTRIBUTION.exists() and Path("/etc/debian_version").exists():
        return str(DISTRIBUTION), "the distribution's, built with PGO and LTO"
    return sys.executable, "built without PGO: an optimised build takes about 5% less processor time"


def description() -> str:
    python, build = chosen()
    version = subprocess.run([python, "-VV"], check=True, capture_output=True, text=True).stdout.split(" (")[0]
    return f"{version} ({build})"


def install(name: str, requirements: Path) -> None:
    """A virtual environment for one contestant, created again when its requirements or the interpreter have changed."""
    home = CACHE / name
    stamp, wanted = home / "installed.txt", f"# {chosen()[0]}\n{requirements.read_text()}"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        # uv creates environments without ensurepip, which Debian has in a separate package.
        uv: list[str | Path] = [sys.executable, "-m", "uv", "--quiet"]
        subprocess.run([*uv, "venv", "--python", chosen()[0], home], check=True)
        install: list[str | Path] = [
            "pip",
            "install",
            "--compile-bytecode",
            "--python",
            home,
            "--require-hashes",
            "-r",
            requirements,
        ]
        subprocess.run([*uv, *install], check=True, cwd=ROOT)
        stamp.write_text(wanted)
