"""The settings: read once from the environment and .env, checked, frozen. A bad value is one sentence that names it."""

import ipaddress
import math
import re
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service import dsn

ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.IGNORECASE)
DEFAULT_PORTS = {"http": "80", "https": "443"}


class SettingsError(Exception):
    """A setting that keeps the service from starting; str() is one sentence that names it."""


class Settings(BaseSettings):
    """Field names in upper case are the environment variables; .env.example and the README's table describe each."""

    # env_ignore_empty: `FRONTEND_URL=` in a .env file means "the default", as people expect.
    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_url: SecretStr | None = None
    migration_database_url: SecretStr | None = None
    better_auth_secret: SecretStr | None = None
    frontend_url: Annotated[tuple[str, ...], NoDecode] = ("http://localhost:3000",)
    jwt_expiration_hours: float = 24
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=256)
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    data_dir: str = ".data"
    login_failure_limit: int = Field(default=10, ge=0)
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    metrics_port: int = Field(default=0, ge=0, le=65535)

    @field_validator("database_url", "migration_database_url")
    @classmethod
    def _connection_string(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            dsn.parse(value.get_secret_value())
        return value

    @field_validator("better_auth_secret")
    @classmethod
    def _long_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < 32:
            raise ValueError("must be at least 32 bytes long, for example the output of: openssl rand -base64 48")
        return value

    @field_validator("frontend_url", mode="before")
    @classmethod
    def _origins(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(_origin(part.strip()) for part in value.split(","))

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return tuple(str(ipaddress.ip_network(part.strip())) for part in value.split(","))
        except ValueError:
            raise ValueError("must be addresses or networks separated by commas, for example 10.0.0.0/8") from None

    @field_validator("jwt_expiration_hours")
    @classmethod
    def _positive_hours(cls, value: float) -> float:
        if not (math.isfinite(value) and 0 < value <= 24 * 3650):
            raise ValueError("must be a positive number of hours, for example 24")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


def _origin(text: str) -> str:
    """An origin as a browser sends it: lower case, no default port, no trailing slash."""
    match = ORIGIN.fullmatch(text.removesuffix("/"))
    if match is None or not 0 < int(match[3] or 1) < 65536:
        raise ValueError(f"must be origins separated by commas, for example https://todo.example.com, not {text!r}")
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    return f"{scheme}://{host}" if port in (None, DEFAULT_PORTS[scheme]) else f"{scheme}://{host}:{port}"


SENTENCES = {
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of {expected}",
}


def load_settings() -> Settings:
    """Reads the environment; raises SettingsError for the first value that is bad."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        context = first.get("ctx", {})
        reason = SENTENCES.get(first["type"], "{error}").format(**{"error": "cannot be read", **context})
        raise SettingsError(f"{str(first['loc'][0]).upper()} {reason}.") from None
    except UnicodeDecodeError:
        raise SettingsError("The .env file must be UTF-8 text.") from None


def connection(settings: Settings) -> tuple[str, str]:
    """What the service cannot do without: the database's URL and the token secret; raises SettingsError."""
    if settings.database_url is None:
        raise SettingsError(
            "DATABASE_URL is not set: give it a connection string, for example postgresql://user:password@host/todo,"
            " or start with `make run`, which brings its own database."
        )
    if settings.better_auth_secret is None:
        raise SettingsError(
            "BETTER_AUTH_SECRET is not set: give it the frontend's secret, 32 bytes or more, for example the output of:"
            " openssl rand -base64 48"
        )
    return settings.database_url.get_secret_value(), settings.better_auth_secret.get_secret_value()
