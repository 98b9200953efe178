"""Parses PostgreSQL connection strings, for asyncpg (the service) and for libpq (the migrations).

An error begins with a verb: the caller puts the setting's name before it. It quotes nothing, because any part of a
mistyped string can be the password.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from service.postgres import tls

# user:password@host:port/database?query. The last @ ends the password, so a password may contain an unescaped @.
URL = re.compile(
    r"""postgres(?:ql)?(?:\+\w+)?://
    (?:(?P<user>[^:/?#]*)(?::(?P<password>[^/?#]*))?@)?
    (?:\[(?P<ip>[^\[\]]+)\]|(?P<host>[^@:,/?#\[\]]*))(?::(?P<port>[0-9]*))?
    (?:/(?P<dbname>[^?#]*))?(?:\?(?P<query>[^#]*))?""",
    re.IGNORECASE | re.VERBOSE,
)
UNREADABLE = (
    "cannot be read: it should look like postgresql://user:password@host:5432/database?name=value,"
    " with characters like / ? # % of the password percent-encoded (%2F for a slash)"
)
SETTINGS = {"application_name", "options"}
LIBPQ_TOO = SETTINGS | {"user", "password", "connect_timeout", "sslcert", "sslkey", "sslpassword"}
HANDLED = LIBPQ_TOO | {"host", "port", "dbname", "database", "ssl", "sslmode", "sslrootcert", "pgbouncer", "schema"}
HANDLED |= {"statement_cache_size", "prepared_statement_cache_size"}
# These have no effect: verified TLS protects as channel binding does, which asyncpg lacks, and there is one host.
HANDLED |= {"channel_binding", "connection_limit", "pool_timeout", "sslaccept", "target_session_attrs"}


@dataclass(frozen=True)
class Target:
    """What a connection string means."""

    connect: dict[str, Any] = field(repr=False)
    """Keyword arguments of asyncpg.connect, with the one SSLContext of all connections: making it takes 17 ms."""
    libpq: dict[str, str] = field(repr=False)
    """Keyword arguments of psycopg.connect."""
    pooled: bool
    """Whether the host is a transaction pooler: then there are no prepared statements and no session state."""
    ignored: tuple[str, ...]
    """Names of the parameters that have no effect, although the user expects one."""

    @property
    def yoyo_url(self) -> str:
        # Everything is a parameter, because yoyo does not decode the database name and does not accept a Unix socket.
        return "postgresql+psycopg:///?" + urlencode(self.libpq, quote_via=quote)


def parse(url: str) -> Target:
    """Raises ValueError with a sentence without its subject: the caller puts the setting's name before it."""
    return _target(_read(url))


def direct(url: str) -> Target:
    """The same database without its transaction pooler, for migrations; `pooled` if its direct host is unknown."""
    parts = _read(url)
    past = _past_pooler(parts)
    if past != parts:
        past = {name: value for name, value in past.items() if name != "pgbouncer" and "cache_size" not in name}
    return _target(past)


def _read(url: str) -> dict[str, str]:
    """The decoded parts under libpq's names. As in libpq, a parameter overrides the part before the `?`."""
    url = url.strip()
    if not re.match(r"postgres(ql)?(\+\w+)?://", url, re.IGNORECASE):
        raise ValueError(
            "must begin with postgresql:// and stand alone, for example postgresql://user:password@host/todo"
        )
    try:
        if (match := URL.fullmatch(url)) is None:
            raise ValueError
        given = match.groupdict(default="")
        query = given.pop("query").strip("&")
        parts = {name: unquote(value, errors="strict") for name, value in given.items()}
        parts["host"] = parts.pop("ip") or parts["host"]
        parts |= parse_qsl(query, strict_parsing=bool(query), errors="strict")
        parts["port"] = parts["port"] or "5432"
        if not 0 < int(parts["port"]) < 65536 or "\0" in "".join(parts.values()):
            raise ValueError
    except ValueError:
        raise ValueError(UNREADABLE) from None
    parts["dbname"] = parts["dbname"] or parts.get("database") or parts["user"]
    if not parts["dbname"] or not parts["host"]:
        raise ValueError("names no database or no host: at the least, it should look like postgresql://host/database")
    return {name: value for name, value in parts.items() if value}


def _past_pooler(parts: dict[str, str]) -> dict[str, str]:
    """Neon's transaction pooler has another host name, Supabase's another port."""
    host = parts["host"]
    if host.endswith(".neon.tech"):
        return parts | {"host": host.replace("-pooler.", ".", 1)}
    supabase = parts["port"] == "6543" and host.endswith((".supabase.com", ".supabase.co"))
    return parts | ({"port": "5432"} if supabase else {})


def _is_pooled(parts: dict[str, str]) -> bool:
    return (
        tls.SYNONYMS.get(parts.get("pgbouncer", "false").lower()) != "disable"
        or "0" in (parts.get("statement_cache_size"), parts.get("prepared_statement_cache_size"))
        or "-pooler." in parts["host"]
        or _past_pooler(parts) != parts
    )


def _target(parts: dict[str, str]) -> Target:
    pooled = _is_pooled(parts)
    ignored = set(parts) - HANDLED
    if parts.get("schema", "public") != "public":
        ignored.add("schema")
    # A pooler refuses settings (-c name=value). Options without a dash name the project for Neon and Supabase.
    if pooled and parts.get("options", "").startswith("-"):
        ignored.add("options")
    kept = {name: value for name, value in parts.items() if name not in ignored}
    mode = tls.mode(kept)

    # If there is no user or password here, both drivers read PGUSER, PGPASSWORD and ~/.pgpass.
    connect: dict[str, Any] = {name: kept[name] for name in ("host", "user", "password") if name in kept}
    connect |= {"port": int(kept["port"]), "database": kept["dbname"]}
    connect["ssl"] = False if mode == "disable" else tls.context(mode, kept)
    connect["server_settings"] = {name: kept[name] for name in SETTINGS & set(kept)}
    if pooled:
        connect["statement_cache_size"] = 0

    libpq = {name: kept[name] for name in kept if name in LIBPQ_TOO | {"host", "port", "dbname"}} | {"sslmode": mode}
    if mode.startswith("verify"):
        libpq["sslrootcert"] = tls.authorities_file(kept)
    return Target(connect, libpq, pooled, tuple(sorted(ignored)))
