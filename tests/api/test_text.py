"""Titles and descriptions: blanks, lengths in characters, and text that is returned unchanged."""

import sys
import unicodedata
from typing import Any

import pytest

from tests.support.answers import assert_error
from tests.support.api import Api, User

pytestmark = pytest.mark.anyio

BLANKS = [character for character in map(chr, range(sys.maxunicode + 1)) if character.isspace()]
# Characters that look blank, but that str.strip does not remove.
NO_BLANKS = ("\u200b", "\ufeff", "\u2060", "\u180e", "\u00ad", "\u3164", "\x7f", "\x01", "\x1b", "\u200f")
REQUIRED, EMPTY = "Title is required", "Title cannot be empty"
TOO_LONG = "Title must not exceed 255 characters"
TEXTS = (
    "😀 👩‍👩‍👧‍👦 🇩🇪", "שלום עולם", "مرحبا \u202eabc\u202c",
    "'; drop table tasks; --", "<script>alert(1)</script>", "&lt;b&gt; &amp;",
    '"quotes" and \\backslashes\\ \\n \\u0041', "{\"json\": [1]}", "tab\tline\nreturn\r\nend",
    "\x01\x1f\x7f\x80\x9f.", "a\u2028 \u2029.",
    "e\u0301 is not é", "ﬁ Ⅷ ½", "\ufffd\ufffe\uffff\U0010ffff", "$1 %s {0} :name ?", "null", "0", "false", "\u200b",
    "\ufeffBOM", "ẞß ıİ",
)  # fmt: skip


async def test_the_blanks_are_those_of_str_strip() -> None:
    assert len(BLANKS) == 29
    assert {"\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0", "\u1680", "\u3000"} < set(BLANKS)


async def test_a_title_that_is_absent_empty_or_blank_is_400(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    assert_error(await api.request("POST", "/api/tasks", user, json={}), 400, REQUIRED)
    assert_error(await api.request("POST", "/api/tasks", user, json={"description": "x"}), 400, REQUIRED)
    for title in ("", None, " " * 300, "".join(BLANKS), *BLANKS):
        assert_error(await api.create_task(user, title=title), 400, REQUIRED)
        assert_error(await api.update_task(user, task["id"], title=title), 400, EMPTY)
    assert (await api.list_tasks(user)).json() == {"tasks": [task]}


async def test_a_title_is_trimmed_of_every_blank_and_the_database_agrees(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    for blank in BLANKS:
        padded = f"{blank}a{blank}b{blank}{blank}"
        assert (await api.task(user, title=padded))["title"] == f"a{blank}b", repr(blank)
        changed = await api.update_task(user, task["id"], title=padded)
        assert changed.json()["task"]["title"] == f"a{blank}b", repr(blank)


async def test_characters_that_only_look_blank_are_a_valid_title(api: Api) -> None:
    user = api.user()
    for title in NO_BLANKS:
        assert (await api.task(user, title=title))["title"] == title, repr(title)
        assert (await api.task(user, title=f" {title}x{title} "))["title"] == f"{title}x{title}", repr(title)


async def test_a_title_has_up_to_255_code_points(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    for longest in ("x" * 255, "😀" * 255, "e\u0301" * 127 + "x", "👩‍👧" * 85, "\U0010ffff" * 255):
        assert len(longest) == 255
        assert (await api.task(user, title=f"  {longest}\u3000"))["title"] == longest
        assert (await api.update_task(user, task["id"], title=f"\x1f{longest} ")).json()["task"]["title"] == longest
        for title in (longest + "x", "\u0301" + longest, longest + " " * 5 + "x"):
            assert_error(await api.create_task(user, title=title), 400, TOO_LONG)
            assert_error(await api.update_task(user, task["id"], title=title), 400, TOO_LONG)


async def test_a_description_has_up_to_1000_code_points_and_is_not_trimmed(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    for longest in ("x" * 1000, "😀" * 1000, "e\u0301" * 500, " " * 1000, f" {'x' * 998}\n"):
        assert (await api.task(user, description=longest))["description"] == longest
        assert (await api.update_task(user, task["id"], description=longest)).json()["task"]["description"] == longest
        message = "Description must not exceed 1000 characters"
        assert_error(await api.create_task(user, description=longest + " "), 400, message)
        assert_error(await api.update_task(user, task["id"], description=longest + " "), 400, message)


async def test_text_of_another_type_is_400(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    invalid: tuple[Any, ...] = (1, 0, 1.5, True, False, [], ["x"], {}, {"a": "x"})
    for value in invalid:
        for field in ("title", "description"):
            assert_error(await api.create_task(user, **{field: value}), 400)
            assert_error(await api.update_task(user, task["id"], **{field: value}), 400)


async def test_text_comes_back_exactly_as_it_was_sent(api: Api) -> None:
    user = api.user()
    assert any(unicodedata.normalize("NFC", text) != text for text in TEXTS)
    changed = (await api.task(user))["id"]
    for text in TEXTS:
        task = await api.task(user, title=text, description=f" {text}\n")
        assert (task["title"], task["description"]) == (text, f" {text}\n")
        sent = await api.update_task(user, changed, title=text, description=f"\t{text} ")
        assert (sent.json()["task"]["title"], sent.json()["task"]["description"]) == (text, f"\t{text} ")
        assert (await api.get_task(user, task["id"])).json() == {"task": task}
    titles = [task["title"] for task in (await api.list_tasks(user)).json()["tasks"]]
    assert titles == [*reversed(TEXTS), TEXTS[-1]]


async def _refused(api: Api, user: User, task_id: str, body: bytes) -> None:
    assert_error(await api.request("POST", "/api/tasks", user, content=body), 400)
    assert_error(await api.request("PUT", f"/api/tasks/{task_id}", user, content=body), 400)


async def test_nul_and_lone_surrogates_are_400_in_every_field(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    for bad in (
        rb"\u0000",
        rb"a\u0000b",
        b"a\x00b",
        rb"\ud800",
        rb"\udfff",
        rb"a\udc00\ud800b",
        b"\xed\xa0\x80",
        rb"\uD83D x",
    ):
        await _refused(api, user, task["id"], b'{"title": "%s"}' % bad)
        await _refused(api, user, task["id"], b'{"title": "x", "description": "%s"}' % bad)
        for field in (
            b'"email": "%s@example.com", "password": "correct horse"',
            b'"email": "a@b.example", "password": "long %s"',
        ):
            sent = b"{" + field % bad + b"}"
            assert_error(await api.request("POST", "/api/auth/signup", content=sent), 400)
            assert (await api.request("POST", "/api/auth/login", content=sent)).status_code in (400, 401), bad
    assert (await api.list_tasks(user)).json() == {"tasks": [task]}
    pair = await api.request("POST", "/api/tasks", user, content=rb'{"title": "\ud83d\ude00"}')
    assert pair.json()["task"]["title"] == "😀", "a pair of surrogates is a valid character"
