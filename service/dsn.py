"""PostgreSQL connection strings: the one place that understands them, for asyncpg (the service) and libpq (migrations).

Errors begin with a verb, for the name of the setting to stand before them, and quote nothing: any piece of a mistyped
string may be the password.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from service import tls

SCHEME = re.compile(r"postgres(ql)?(\+\w+)?://", re.IGNORECASE)
# user:password@hosts/database?query; the last @ ends the password, so that one with an unescaped @ in it works.
REST = re.compile(r"(?:([^:/?#]*)(?::([^/?#]*))?@)?([^@/?#]*)(?:/([^?#]*))?(?:\?([^#]*))?")
ADDRESS = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]*))(?::([0-9]*))?")
UNREADABLE = (
    "cannot be read: it should look like postgresql://user:password@host:5432/database?name=value,"
    " with characters like / ? # % of the password percent-encoded (%2F for a slash)"
)
# Tried in turn where the string names no host, for libpq and asyncpg disagree on what that means.
DEFAULT_HOSTS = "/var/run/postgresql,/tmp,localhost"
SESSION_ATTRIBUTES = ("any", "primary", "standby", "prefer-standby", "read-write", "read-only")
LIBPQ_TOO = {"user", "password", "target_session_attrs", "application_name", "options", "connect_timeout"}
LIBPQ_TOO |= {"sslcert", "sslkey", "sslpassword"}
HANDLED = LIBPQ_TOO | {"host", "port", "dbname", "database", "ssl", "sslmode", "sslrootcert", "pgbouncer", "schema"}
HANDLED |= {"statement_cache_size", "prepared_statement_cache_size"}
# Without a meaning here. asyncpg knows no channel binding, and verified TLS guards the same door.
HANDLED |= {"channel_binding", "connection_limit", "pool_timeout", "sslaccept"}


@dataclass(frozen=True)
class Target:
    """What a connection string means."""

    connect: dict[str, Any] = field(repr=False)
    """Keyword arguments of asyncpg.connect, with the one SSLContext of all connections: making it takes 17 ms."""
    libpq: dict[str, str] = field(repr=False)
    """Keyword arguments of psycopg.connect."""
    pooled: bool
    """Whether a transaction pooler stands in between: no prepared statements, no session state."""
    ignored: tuple[str, ...]
    """Names of the parameters that should have had an effect and have none."""

    @property
    def yoyo_url(self) -> str:
        # All of it as parameters: yoyo decodes no database name and takes neither a socket nor several hosts.
        return "postgresql+psycopg:///?" + urlencode(self.libpq, quote_via=quote)


def parse(url: str) -> Target:
    """Raises ValueError with a sentence that lacks its subject, the name of the setting."""
    parts = _read(url)
    return _target(parts, _addresses(parts))


def direct(url: str) -> Target:
    """The same database past its transaction pooler, for migrations; still `pooled` where no way past it is known."""
    parts = _read(url)
    given = _addresses(parts)
    addresses = [_past_pooler(*address) for address in given]
    if addresses != given:
        parts = {name: value for name, value in parts.items() if name != "pgbouncer" and "cache_size" not in name}
    return _target(parts, addresses)


def _read(url: str) -> dict[str, str]:
    """The decoded parts under libpq's names; as in libpq, a parameter overrides what stands before the `?`."""
    scheme = SCHEME.match(url := url.strip())
    if scheme is None:
        raise ValueError("must begin with postgresql:// and stand without quotes or other words around it")
    rest = REST.fullmatch(url, scheme.end())
    addresses = [ADDRESS.fullmatch(part) for part in rest[3].split(",")] if rest else []
    if rest is None or None in addresses:
        raise ValueError(UNREADABLE)
    found = [(address[1] or address[2], address[3] or "") for address in addresses if address]
    host, port = (",".join(column) for column in zip(*found, strict=True))
    given = {"user": rest[1], "password": rest[2], "host": host, "port": port, "dbname": rest[4]}
    query = (rest[5] or "").strip("&")
    try:
        parts = {name: unquote(value, errors="strict") for name, value in given.items() if value}
        parts |= parse_qsl(query, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise ValueError(UNREADABLE) from None
    if any("\0" in value for value in parts.values()):
        raise ValueError("contains a NUL character (%00)")
    return parts


def _addresses(parts: dict[str, str]) -> list[tuple[str, int]]:
    hosts = (parts.get("host") or DEFAULT_HOSTS).split(",")
    ports = [port or "5432" for port in parts.get("port", "").split(",")]
    ports = ports * len(hosts) if len(ports) == 1 else ports
    if not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise ValueError("has a port that is not a number from 1 to 65535")
    if len(ports) != len(hosts) or not all(hosts):
        raise ValueError("does not give each of its hosts a name and a port")
    return [(host, int(port)) for host, port in zip(hosts, ports, strict=True)]


def _past_pooler(host: str, port: int) -> tuple[str, int]:
    """Neon has its transaction pooler on a host of its own, Supabase on a port."""
    if host.endswith(".neon.tech"):
        return host.replace("-pooler.", ".", 1), port
    return host, 5432 if port == 6543 and host.endswith((".supabase.com", ".supabase.co")) else port


def _is_pooled(parts: dict[str, str], addresses: list[tuple[str, int]]) -> bool:
    return (
        tls.SYNONYMS.get(parts.get("pgbouncer", "false").lower()) != "disable"
        or "0" in (parts.get("statement_cache_size"), parts.get("prepared_statement_cache_size"))
        or any("-pooler." in host or _past_pooler(host, port) != (host, port) for host, port in addresses)
    )


def _target(parts: dict[str, str], addresses: list[tuple[str, int]]) -> Target:
    hosts, ports = [host for host, _ in addresses], [port for _, port in addresses]
    database = parts.get("dbname") or parts.get("database") or parts.get("user")
    if not database:
        raise ValueError("names no database: its name belongs after the host, as in postgresql://user@host/name")
    if parts.get("target_session_attrs", "any") not in SESSION_ATTRIBUTES:
        raise ValueError(f"has a target_session_attrs that is none of {', '.join(SESSION_ATTRIBUTES)}")
    pooled = _is_pooled(parts, addresses)
    ignored = _ignored(parts, pooled)
    kept = {name: value for name, value in parts.items() if name not in ignored}
    mode = tls.mode(kept, hosts)

    # Without a user or a password here, both drivers look where they always do: PGUSER, PGPASSWORD, ~/.pgpass.
    connect: dict[str, Any] = {"host": hosts, "port": ports, "database": database}
    connect |= {name: kept[name] for name in ("user", "password", "target_session_attrs") if name in kept}
    connect["ssl"] = False if mode == "disable" else tls.context(mode, kept)
    connect["server_settings"] = {name: kept[name] for name in ("application_name", "options") if name in kept}
    if pooled:
        connect["statement_cache_size"] = 0

    libpq = {name: value for name, value in kept.items() if name in LIBPQ_TOO}
    libpq |= {"host": ",".join(hosts), "port": ",".join(map(str, ports)), "dbname": database, "sslmode": mode}
    if mode.startswith("verify"):
        libpq["sslrootcert"] = tls.authorities_file(kept)
    return Target(connect, libpq, pooled, tuple(sorted(ignored)))


def _ignored(parts: dict[str, str], pooled: bool) -> set[str]:
    ignored = set(parts) - HANDLED
    if parts.get("schema", "public") != "public":
        ignored.add("schema")
    # A pooler refuses settings (-c name=value); what has no dash tells Neon's and Supabase's proxies the project.
    if pooled and parts.get("options", "").startswith("-"):
        ignored.add("options")
    if not parts.get("connect_timeout", "0").isdecimal():
        ignored.add("connect_timeout")
    return ignored
