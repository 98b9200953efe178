"""Parsing of the connection strings that providers show; test_tls.py connects with them."""

import ssl
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo
from yoyo.connections import parse_uri

from service.postgres import connection_string

NEON = "ep-cool-rain-123456.eu-central-1.aws.neon.tech"
NEON_POOLER = "ep-cool-rain-123456-pooler.eu-central-1.aws.neon.tech"
SUPABASE = "aws-0-eu-central-1.pooler.supabase.com"

# connection string, (user, password, host, port, database), libpq's sslmode, pooled
STRINGS = {
    "Neon": (
        f"postgresql://owner:npg_x@{NEON}/neondb?sslmode=require&channel_binding=require",
        ("owner", "npg_x", NEON, 5432, "neondb"), "verify-full", False,
    ),
    "Neon, pooled": (
        f"postgresql://owner:npg_x@{NEON_POOLER}/neondb?sslmode=require&channel_binding=require",
        ("owner", "npg_x", NEON_POOLER, 5432, "neondb"), "verify-full", True,
    ),
    "Supabase": (
        "postgresql://postgres:x@db.abcdefgh.supabase.co:5432/postgres",
        ("postgres", "x", "db.abcdefgh.supabase.co", 5432, "postgres"), "verify-full", False,
    ),
    "Supabase, transactions": (
        f"postgres://postgres.abcdefgh:x@{SUPABASE}:6543/postgres?pgbouncer=true",
        ("postgres.abcdefgh", "x", SUPABASE, 6543, "postgres"), "verify-full", True,
    ),
    "Supabase, sessions": (
        f"postgres://postgres.abcdefgh:x@{SUPABASE}:5432/postgres",
        ("postgres.abcdefgh", "x", SUPABASE, 5432, "postgres"), "verify-full", False,
    ),
    "Heroku": (
        "postgres://u1:p1@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1?sslmode=no-verify",
        ("u1", "p1", "ec2-1-2-3-4.compute-1.amazonaws.com", 5432, "d1"), "require", False,
    ),
    "Prisma": (
        "postgresql://u:p@db.example.com/d?schema=public&connection_limit=5&pool_timeout=10&sslaccept=strict"
        "&connect_timeout=15",
        ("u", "p", "db.example.com", 5432, "d"), "verify-full", False,
    ),
    "Prisma, without a database": (
        "postgres://u:p@db.prisma.io:5432/?sslmode=require",
        ("u", "p", "db.prisma.io", 5432, "u"), "verify-full", False,
    ),
    "SQLAlchemy": (
        "postgresql+asyncpg://u:p@db.example.com/d?ssl=require&prepared_statement_cache_size=0",
        ("u", "p", "db.example.com", 5432, "d"), "verify-full", True,
    ),
    "SQLAlchemy, psycopg": (
        "postgresql+psycopg2://u:p@localhost:5433/d",
        ("u", "p", "localhost", 5433, "d"), "disable", False,
    ),
    "JDBC's parameters": (
        "postgresql://db.example.com/d?user=u&password=p%26q&ssl=true",
        ("u", "p&q", "db.example.com", 5432, "d"), "verify-full", False,
    ),
    "compose": (
        "postgresql://u:p@database/d?sslmode=disable",
        ("u", "p", "database", 5432, "d"), "disable", False,
    ),
    "socket": (
        "postgresql://u@/d?host=/var/run/postgresql&port=5433",
        ("u", None, "/var/run/postgresql", 5433, "d"), "disable", False,
    ),
    "socket, encoded": (
        "postgresql://u@%2Fvar%2Frun%2Fpostgresql/d",
        ("u", None, "/var/run/postgresql", 5432, "d"), "disable", False,
    ),
    "IPv6": (
        "postgresql://u:p@[2001:db8::1]:5433/d",
        ("u", "p", "2001:db8::1", 5433, "d"), "verify-full", False,
    ),
    "IPv6, local": (
        "postgresql://u:p@[::1]/d?sslmode=require",
        ("u", "p", "::1", 5432, "d"), "require", False,
    ),
    "encoded": (
        "  postgresql://a%40b:p%40%20s%25%2F%3F%23%3A+@127.0.0.2/d%20%2F%C3%A9\n",
        ("a@b", "p@ s%/?#:+", "127.0.0.2", 5432, "d /é"), "disable", False,
    ),
    "unencoded where it is clear": (
        "postgresql://u@server:p@ss w:rd[1]100%@db.example.com/d",
        ("u@server", "p@ss w:rd[1]100%", "db.example.com", 5432, "d"), "verify-full", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("url", "parts", "ssl_mode", "pooled"), STRINGS.values(), ids=STRINGS.keys())
def test_a_connection_string_is_parsed_for_both_drivers(
    url: str, parts: tuple[Any, ...], ssl_mode: str, pooled: bool
) -> None:
    target = connection_string.parse(url)
    connect, libpq = target.connect, target.libpq

    user, password, host, port, database = parts
    assert (connect["user"], connect.get("password")) == (user, password)
    assert (connect["host"], connect["port"], connect["database"]) == (host, port, database)
    assert connect["server_settings"] == {}
    assert (libpq["user"], libpq.get("password"), libpq["dbname"]) == (user, password, database)
    assert (libpq["host"], libpq["port"], libpq["sslmode"]) == (host, str(port), ssl_mode)
    assert target.pooled is pooled
    assert connect.get("statement_cache_size", 100) == (0 if pooled else 100)
    assert target.ignored == ()

    context = connect["ssl"]
    meaning = context and (context.verify_mode, context.check_hostname)
    assert meaning == {
        "disable": False,
        "require": (ssl.CERT_NONE, False),
        "verify-full": (ssl.CERT_REQUIRED, True),
    }[ssl_mode]  # fmt: skip
    assert make_conninfo(**libpq), "libpq knows every keyword"
    assert parse_uri(target.yoyo_url).args == libpq


def test_neons_string_leads_to_no_unknown_parameter() -> None:
    target = connection_string.parse(STRINGS["Neon"][0])
    assert set(target.connect) == {"host", "port", "user", "password", "database", "ssl", "server_settings"}
    assert set(target.libpq) == {"host", "port", "user", "password", "dbname", "sslmode", "sslrootcert"}


@pytest.mark.parametrize(
    ("url", "host", "port", "pooled"),
    [
        (STRINGS["Neon, pooled"][0] + "&pgbouncer=true", NEON, 5432, False),
        (STRINGS["Neon"][0], NEON, 5432, False),
        (STRINGS["Supabase, transactions"][0], SUPABASE, 5432, False),
        ("postgresql://u@db-pooler.example.com/d", "db-pooler.example.com", 5432, True),
        ("postgresql://u@localhost:6432/d?pgbouncer=true", "localhost", 6432, True),
        ("postgresql://u@localhost:6432/d?pgbouncer=false", "localhost", 6432, False),
    ],
)
def test_direct_replaces_the_address_of_a_known_pooler(url: str, host: str, port: int, pooled: bool) -> None:
    target = connection_string.direct(url)
    assert (target.libpq["host"], target.libpq["port"], target.pooled) == (host, str(port), pooled)


def test_known_parameters_are_passed_on_and_others_ignored() -> None:
    target = connection_string.parse(
        "postgresql://u@localhost/d?application_name=todo&connect_timeout=7"
        "&options=-c%20statement_timeout%3D5s&schema=work&tcp_user_timeout=3&sslmode="
    )
    settings = {"application_name": "todo", "options": "-c statement_timeout=5s"}
    assert target.connect["server_settings"] == settings
    assert target.libpq.items() >= {**settings, "connect_timeout": "7"}.items()
    assert target.ignored == ("schema", "tcp_user_timeout")


def test_a_pooler_gets_neons_endpoint_option_but_no_settings() -> None:
    project = connection_string.parse(f"postgresql://u@{NEON_POOLER}/d?options=endpoint%3Dep-cool-rain-123456")
    assert project.connect["server_settings"] == {"options": "endpoint=ep-cool-rain-123456"}
    assert project.libpq["options"] == "endpoint=ep-cool-rain-123456"
    setting = connection_string.parse(f"postgresql://u@{NEON_POOLER}/d?options=-c%20search_path%3Dwork")
    assert setting.connect["server_settings"] == {}
    assert "options" not in setting.libpq
    assert setting.ignored == ("options",)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "must begin with postgresql://"),
        ("mysql://u:SECRET@h/d", "must begin with postgresql://"),
        ("'postgresql://u:SECRET@h/d'", "must begin with postgresql://"),
        ("host=h password=SECRET", "must begin with postgresql://"),
        ("postgresql://u:SEC/RET@h/d", "percent-encoded"),
        ("postgresql://u:SECRET#@h/d", "percent-encoded"),
        ("postgresql://u:12?SECRET@h/d", "percent-encoded"),
        ("postgresql://u:SECRET%ff@h/d", "percent-encoded"),
        ("postgresql://u:SECRET@h:port/d", "percent-encoded"),
        ("postgresql://u:SECRET@[::1/d", "percent-encoded"),
        ("postgresql://u:SECRET@h/d?sslmode", "percent-encoded"),
        ("postgresql://u:SECRET%00@h/d", "percent-encoded"),
        ("postgresql://u:SECRET@h:65536/d", "percent-encoded"),
        ("postgresql://u:SECRET@h/d?port=SECRET", "percent-encoded"),
        ("postgresql://u:SECRET@h,i/d", "percent-encoded"),
        ("postgresql://u:SECRET@/d", "no host"),
        ("postgresql://:SECRET@h", "names no database"),
        ("postgresql://u:SECRET@h/d?sslmode=SECRET", "sslmode"),
        ("postgresql://u:SECRET@h/d?sslrootcert=/SECRET.crt", "sslrootcert"),
        (f"postgresql://u:SECRET@h/d?sslcert={__file__}", "sslcert"),
    ],
)
def test_a_bad_connection_string_is_refused_without_quoting_it(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refusal:
        connection_string.parse(url)
    assert "SEC" not in str(refusal.value)
    assert refusal.value.__cause__ is None and (refusal.value.__context__ is None or refusal.value.__suppress_context__)


def test_repr_hides_the_password() -> None:
    assert "SECRET" not in repr(connection_string.parse("postgresql://u:SECRET@h/d?sslpassword=SECRET"))
