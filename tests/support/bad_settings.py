"""Values that stop the start, each with the beginning of the sentence that names it."""

import re

SECRET = "the-secret-that-nobody-may-see-" + "x" * 8
URL = "postgresql://todo:hunter2-never-shown@127.0.0.1:1/todo"
GOOD = {"DATABASE_URL": URL, "BETTER_AUTH_SECRET": SECRET}
NO_ISSUER = (
    "app.example.com", "http://app.example.com", "http://localhost.example.com", "http://127.0.0.1.example.com:80",
    "https://app.example.com/api/auth", "https://app.example.com?x=1", "https://ada@app.example.com", "https://",
    "ftp://localhost", "https://a.example,https://b.example", "http://localhost:", "*",
)  # fmt: skip

BAD = [
    ("DATABASE_URL", "mysql://todo@localhost/todo", "DATABASE_URL must begin with postgresql://"),
    ("DATABASE_URL", "postgresql://todo:pa/ss@localhost/todo", "DATABASE_URL cannot be read"),
    ("DATABASE_URL", "postgresql://todo@localhost:port/todo", "DATABASE_URL cannot be read"),
    ("DATABASE_URL", "postgresql://localhost", "DATABASE_URL names no database"),
    ("MIGRATION_DATABASE_URL", "psql todo", "MIGRATION_DATABASE_URL must begin with postgresql://"),
    ("BETTER_AUTH_SECRET", "too short", "BETTER_AUTH_SECRET must be at least 32 bytes long"),
    ("BETTER_AUTH_SECRET", "x" * 31, "BETTER_AUTH_SECRET must be at least 32 bytes long"),
    *(
        ("BETTER_AUTH_URL", value, "BETTER_AUTH_URL must be an origin with https, or on localhost")
        for value in NO_ISSUER
    ),
    ("FRONTEND_URL", "localhost:3000", "FRONTEND_URL must be origins"),
    ("FRONTEND_URL", "*", "FRONTEND_URL must be origins"),
    ("FRONTEND_URL", "https://*.example.com", "FRONTEND_URL must be origins"),
    ("FRONTEND_URL", "https://example.com/app", "FRONTEND_URL must be origins"),
    ("FRONTEND_URL", "https://example.com?x=1", "FRONTEND_URL must be origins"),
    ("FRONTEND_URL", "https://user@example.com", "FRONTEND_URL must be origins"),
    ("FRONTEND_URL", "ftp://example.com", "FRONTEND_URL must be origins"),
    ("FRONTEND_URL", "https://example.com,", "FRONTEND_URL must be origins"),
    ("FRONTEND_URL", "https://example.com:65536", "FRONTEND_URL must be origins"),
    ("FRONTEND_URL", "https://example.com:0", "FRONTEND_URL must be origins"),
    ("FRONTEND_URL", "null", "FRONTEND_URL must be origins"),
    ("JWT_EXPIRATION_HOURS", "a day", "JWT_EXPIRATION_HOURS must be a valid number, for example 24."),
    *(
        ("JWT_EXPIRATION_HOURS", value, "JWT_EXPIRATION_HOURS must be greater than 0, for example 24.")
        for value in ("0", "-1")
    ),
    *(
        ("JWT_EXPIRATION_HOURS", value, "JWT_EXPIRATION_HOURS must be a finite number, for example 24.")
        for value in ("nan", "inf", "-inf")
    ),
    ("JWT_EXPIRATION_HOURS", "1e9", "JWT_EXPIRATION_HOURS must be less than or equal to 87600, for example 24."),
    ("PORT", "http", "PORT must be a valid integer, for example 8000."),
    ("PORT", "80.5", "PORT must be a valid integer, for example 8000."),
    ("PORT", "-1", "PORT must be greater than or equal to 0"),
    ("PORT", "65536", "PORT must be less than or equal to 65535"),
    ("WORKERS", "0", "WORKERS must be greater than or equal to 1"),
    ("WORKERS", "257", "WORKERS must be less than or equal to 256"),
    ("WORKERS", "many", "WORKERS must be a valid integer"),
    ("LOG_LEVEL", "loud", "LOG_LEVEL must be 'debug', 'info', 'warning', 'error' or 'critical', for example info."),
    ("LOGIN_FAILURE_LIMIT", "-1", "LOGIN_FAILURE_LIMIT must be greater than or equal to 0"),
    ("LOGIN_FAILURE_LIMIT", "200000000", "LOGIN_FAILURE_LIMIT must be less than or equal to 1000000, for example 10."),
    ("LOGIN_FAILURE_LIMIT", "ten", "LOGIN_FAILURE_LIMIT must be a valid integer"),
    ("TRUSTED_PROXIES", "proxy.example.com", "TRUSTED_PROXIES must be addresses or networks"),
]


def assert_sentence(text: str, begins: str) -> None:
    """Checks that this is one sentence which begins with the variable's name and contains no secret."""
    assert text.startswith(begins)
    assert re.fullmatch(r"[A-Z_]+[ =].*[^.\s]\.?", text)
    assert "\n" not in text
    assert "hunter2" not in text and SECRET not in text
