"""The settings: read once from the environment, .env and files of secrets. A bad one is one sentence that names it."""

import ipaddress
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.errors import StartError
from service.postgres import connection_string

ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")

ISSUER = re.compile(r"(https://[a-z0-9.-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?/?")


SECRETS = Path("/run/secrets")
"""Where Docker and Kubernetes mount a file for each secret, named as the variable."""


class SettingsError(StartError):
    """A setting is missing or bad; the sentence names it."""


def _connection_string(value: SecretStr) -> SecretStr:
    connection_string.parse(value.get_secret_value())
    return value


def _long(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().encode()) < 32:
        raise ValueError("must be at least 32 bytes long, for example the output of: openssl rand -base64 48")
    return value


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _origin(text: str) -> str:
    """An origin as a browser sends it: lower case, no default port, no trailing slash."""
    origin = text.lower().removesuffix("/")
    match = ORIGIN.fullmatch(origin)
    if match is None or not 0 < int(match[1] or 1) < 65536:
        raise ValueError(f"must be origins separated by commas, for example https://todo.example.com, not {text!r}")
    return origin.removesuffix(":443" if origin.startswith("https:") else ":80")


def _issuer(text: str) -> str:
    """The origin as Better Auth writes it into its tokens. Keys that come in the clear could be anybody's."""
    if not ISSUER.fullmatch(text.lower()):
        raise ValueError("must be an origin with https, or on localhost, for example https://todo.example.com")
    if find_spec("cryptography") is None:
        raise ValueError("needs one more package: pip install -r requirements-jwks.txt")
    return _origin(text)


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError("must be addresses or networks separated by commas, for example 10.0.0.0/8") from None


ConnectionString = Annotated[SecretStr, AfterValidator(_connection_string)]
Port = Annotated[int, Field(ge=0, le=65535)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_split)]
Level = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(str.lower)]


class Settings(BaseSettings):
    """Field names in upper case are the environment variables; .env.example and the README's table describe each."""

    # env_ignore_empty: `FRONTEND_URL=` in a .env file means "the default", as people expect.
    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
    )

    database_url: ConnectionString | None = None
    migration_database_url: ConnectionString | None = None
    better_auth_secret: Annotated[SecretStr, AfterValidator(_long)] | None = None
    better_auth_url: Annotated[str, AfterValidator(_issuer)] | None = None
    frontend_url: Origins = ("http://localhost:3000",)
    jwt_expiration_hours: Annotated[float, Field(gt=0, le=24 * 3650, allow_inf_nan=False)] = 24
    host: str = "127.0.0.1"
    port: Port = 8000
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    log_level: Level = "info"
    data_dir: str = ".data"
    login_failure_limit: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    task_limit: Annotated[int, Field(ge=0, le=1_000_000_000)] = 10_000
    trusted_proxies: Networks = ()
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 0


def load_settings() -> Settings:
    """Reads the environment; raises SettingsError for the first value that is bad."""
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        # pydantic's words, to which it adds the value where it could not be read; ours have an example already.
        reason = first["msg"].replace("Input should", "must").partition(", unable")[0].removeprefix("Value error, ")
        example = "" if first["type"] == "value_error" else f", for example {Settings.model_fields[name].default}"
        raise SettingsError(f"{name.upper()} {reason}{example}.") from None
    except (UnicodeDecodeError, OSError):
        raise SettingsError(
            f"The .env file must be UTF-8 text that you may read, and so must files in {SECRETS}."
        ) from None
    if settings.metrics_port and settings.metrics_port == settings.port:
        raise SettingsError(f"METRICS_PORT={settings.port} is the PORT too: choose another, for example 9100.")
    return settings


def connection(settings: Settings) -> tuple[str, str]:
    """What the service cannot do without: the database's URL and the token secret; raises SettingsError."""
    if settings.database_url is None:
        example = "postgresql://user:password@host/todo, or start with `make run`, which brings its own database"
        raise SettingsError(f"DATABASE_URL is not set: give it a connection string, for example {example}.")
    if settings.better_auth_secret is None:
        example = "the output of: openssl rand -base64 48"
        raise SettingsError(f"BETTER_AUTH_SECRET is not set: give it the frontend's secret, or for example {example}")
    return settings.database_url.get_secret_value(), settings.better_auth_secret.get_secret_value()
