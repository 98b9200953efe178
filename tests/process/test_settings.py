"""Settings: their sources, and the one sentence for a bad value, which names the variable."""

import re
from pathlib import Path

import pytest

from service.config import Settings, SettingsError, connection, load_settings
from tests.support.bad_settings import BAD, GOOD, SECRET, URL, assert_sentence
from tests.support.commands import PROJECT

NAMES = {name.upper() for name in Settings.model_fields}
ORIGINS = {
    "https://todo.example.com": ("https://todo.example.com",),
    "http://localhost:3000/": ("http://localhost:3000",),
    "HTTPS://Todo.Example.com": ("https://todo.example.com",),
    "https://a.example:443, http://b.example:80,http://c.example:443": (
        "https://a.example",
        "http://b.example",
        "http://c.example:443",
    ),
    "http://[::1]:3000": ("http://[::1]:3000",),
}

ISSUERS = {
    "https://App.example.com": "https://app.example.com",
    "https://app.example.com:443/": "https://app.example.com",
    "https://app.example.com:8443": "https://app.example.com:8443",
    "http://localhost:3000/": "http://localhost:3000",
    "http://127.0.0.1": "http://127.0.0.1",
    "http://[::1]:3000": "http://[::1]:3000",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(("name", "value", "sentence"), BAD)
def test_a_bad_value_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert_sentence(str(raised.value), sentence)
    assert raised.value.__cause__ is None


def test_the_env_file_is_read_and_the_environment_takes_precedence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text(f"PORT=9000\nHOST=0.0.0.0\nBETTER_AUTH_SECRET='{SECRET}'\nFRONTEND_URL=\nOTHER=1\n")
    monkeypatch.setenv("PORT", "9001")
    settings = load_settings()
    assert (settings.port, settings.host) == (9001, "0.0.0.0")
    assert settings.better_auth_secret is not None
    assert settings.better_auth_secret.get_secret_value() == SECRET
    assert settings.frontend_url == ("http://localhost:3000",)


def test_an_env_file_that_is_not_text_is_one_sentence(folder: Path) -> None:
    (folder / ".env").write_bytes(b"HOST=\xff\n")
    with pytest.raises(
        SettingsError,
        match=r"^The \.env file must be UTF-8 text that you may read, and so must files in /run/secrets\.$",
    ):
        load_settings()


def test_an_unreadable_env_file_is_one_sentence(folder: Path) -> None:
    (folder / ".env").symlink_to("/proc/self/mem")  # reading /proc/self/mem from its start fails for root too
    with pytest.raises(
        SettingsError,
        match=r"^The \.env file must be UTF-8 text that you may read, and so must files in /run/secrets\.$",
    ):
        load_settings()


@pytest.mark.parametrize(("value", "origins"), ORIGINS.items(), ids=list(ORIGINS))
def test_origins_are_normalised_to_what_browsers_send(
    monkeypatch: pytest.MonkeyPatch, value: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FRONTEND_URL", value)
    assert load_settings().frontend_url == origins


@pytest.mark.parametrize(("value", "issuer"), ISSUERS.items(), ids=list(ISSUERS))
def test_better_auth_url_is_normalised_to_the_issuer_of_its_tokens(
    monkeypatch: pytest.MonkeyPatch, value: str, issuer: str
) -> None:
    monkeypatch.setenv("BETTER_AUTH_URL", value)
    assert load_settings().better_auth_url == issuer


def test_settings_are_immutable(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


def test_printed_settings_show_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert connection(settings) == (URL, SECRET)
    printed = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hunter2" not in printed and SECRET not in printed


def test_every_setting_is_in_env_example_and_in_the_readme() -> None:
    example = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (PROJECT / ".env.example").read_text("utf-8"), re.MULTILINE))
    assert set(example) == NAMES
    given = {name: field.default for name, field in Settings.model_fields.items() if field.default}
    for name, default in given.items():
        assert example[name.upper()] == (",".join(default) if isinstance(default, tuple) else str(default))
    readme = (PROJECT / "README.md").read_text("utf-8")
    table = readme.partition("## Configuration")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)} == NAMES


def test_env_example_is_valid_as_it_is(folder: Path) -> None:
    text = (PROJECT / ".env.example").read_text("utf-8")
    (folder / ".env").write_text(re.sub(r"^#([A-Z_]+=)", r"\1", text, flags=re.MULTILINE), "utf-8")
    assert load_settings() == Settings.model_construct()
