"""TLS towards PostgreSQL, with one meaning for asyncpg and libpq.

A host that is not on this machine is verified, which is stronger than libpq's own `sslmode=require`. Two values of
`sslmode` opt out by name: `disable` (no TLS) and `no-verify` (encrypted, to whoever answers).
"""

import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path

MODES = ("disable", "no-verify", "allow", "prefer", "require", "verify-ca", "verify-full")
# `ssl=true` and the like are the spelling of JDBC and node-postgres.
SYNONYMS = dict.fromkeys(("true", "1", "on", "yes"), "require") | dict.fromkeys(("false", "0", "off", "no"), "disable")


def mode(parameters: Mapping[str, str]) -> str:
    """One of libpq's words for what is done: disable, require (encrypted, not verified), verify-ca, verify-full."""
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
            # With no password at all, OpenSSL would ask for one on the terminal.
            made.load_cert_chain(
                parameters["sslcert"], parameters.get("sslkey"), lambda: parameters.get("sslpassword", "")
            )
    except OSError:
        raise ValueError("names a file in sslrootcert, sslcert or sslkey that cannot be read as what it is") from None
    made.check_hostname = mode == "verify-full"
    made.verify_mode = ssl.CERT_NONE if mode == "require" else ssl.CERT_REQUIRED
    # Python 3.13 refuses private authorities for lacking extensions that nobody else insists on; libpq does not.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made


def authorities_file(parameters: Mapping[str, str]) -> str:
    """libpq's sslrootcert. Not its own `system`: psycopg brings an OpenSSL that looks where no system has any."""
    if (named := parameters.get("sslrootcert", "system")) != "system":
        return named
    paths = ssl.get_default_verify_paths()
    candidates = (paths.cafile, f"{paths.capath}/ca-certificates.crt")
    return next((file for file in candidates if file and Path(file).is_file()), "system")
