"""TLS to PostgreSQL, with the same meaning for asyncpg and libpq.

A host that is not on this machine is verified, which is stronger than libpq's own `sslmode=require`. Two values of
`sslmode` opt out by name: `disable` (no TLS) and `no-verify` (encrypted, to whoever answers).
"""

import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path

MODES = ("disable", "no-verify", "allow", "prefer", "require", "verify-ca", "verify-full")
# JDBC and node-postgres write `ssl=true`.
SYNONYMS = dict.fromkeys(("true", "1", "on", "yes"), "require") | dict.fromkeys(("false", "0", "off", "no"), "disable")


def mode(parameters: Mapping[str, str]) -> str:
    """The sslmode in libpq's words: disable, require (encrypted, not verified), verify-ca, verify-full."""
    wanted = (parameters.get("sslmode") or parameters.get("ssl") or "prefer").lower()
    wanted = SYNONYMS.get(wanted, wanted)
    if wanted not in MODES:
        raise ValueError(f"has an sslmode that is none of {', '.join(MODES)}")
    if wanted in ("disable", "verify-ca", "verify-full"):
        return wanted
    if wanted == "no-verify":
        return "require"
    if "sslrootcert" not in parameters and _is_local(parameters["host"]):
        return "require" if wanted == "require" else "disable"
    return "verify-full"


def _is_local(host: str) -> bool:
    if host.startswith("/") or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def context(mode: str, parameters: Mapping[str, str]) -> ssl.SSLContext:
    authorities = parameters.get("sslrootcert", "system")
    try:
        made = ssl.create_default_context(cafile=None if authorities == "system" else authorities)
        if "sslcert" in parameters:
            # Without this argument, OpenSSL would ask for the password on the terminal.
            made.load_cert_chain(
                parameters["sslcert"], parameters.get("sslkey"), lambda: parameters.get("sslpassword", "")
            )
    except OSError:
        raise ValueError("names a file in sslrootcert, sslcert or sslkey that cannot be read as what it is") from None
    made.check_hostname = mode == "verify-full"
    made.verify_mode = ssl.CERT_NONE if mode == "require" else ssl.CERT_REQUIRED
    # Python 3.13 refuses private authorities without certain extensions; libpq accepts them.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made


def authorities_file(parameters: Mapping[str, str]) -> str:
    """The value of libpq's sslrootcert. Not `system`: psycopg's own OpenSSL looks in a folder that no system has."""
    if (named := parameters.get("sslrootcert", "system")) != "system":
        return named
    paths = ssl.get_default_verify_paths()
    candidates = (paths.cafile, f"{paths.capath}/ca-certificates.crt")
    return next((file for file in candidates if file and Path(file).is_file()), "system")
