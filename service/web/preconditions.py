"""Conditional requests (RFC 9110, 13): the entity tags of If-Match and If-None-Match."""

import re
from datetime import datetime

from starlette.types import Scope

from service.errors import ApiError, bad_request

TAG = rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*+")'
TAGS = re.compile(TAG)
# Possessive, because a header may have hundreds of thousands of characters: nothing is tried twice.
TAG_LIST = re.compile(rb"(?:[ \t,]*+" + TAG + rb"[ \t]*+(?=,|\Z))++[ \t,]*+")
VERSION = re.compile(rb'"(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d\.\d{6}Z)"')
MALFORMED: list[bytes] = []
"""Stands for an If-Match that is no list of tags. It matches no version, so a task that is not there is 404 as ever."""


def if_match(scope: Scope) -> list[bytes] | None:
    """The strong tags of If-Match; None where every version will do."""
    values = [value for name, value in scope["headers"] if name == b"if-match"]
    if not values:
        return None
    value = _joined(values)
    if value == b"*":
        return None
    if not TAG_LIST.fullmatch(value):
        return MALFORMED
    return [tag[0] for tag in TAGS.finditer(value) if tag[0] == tag[1]]


def if_none_match(scope: Scope, tag: bytes) -> bool:
    """Whether If-None-Match names this tag, so that the client has the answer already."""
    values = [value for name, value in scope["headers"] if name == b"if-none-match"]
    if not values:
        return False
    value = _joined(values)
    return value == b"*" or bool(TAG_LIST.fullmatch(value) and tag in TAGS.findall(value))


def versions(tags: list[bytes]) -> list[datetime]:
    """The times that these tags can stand for; a tag that no task can have stands for none."""
    times = []
    for tag in tags:
        if match := VERSION.fullmatch(tag):
            try:
                times.append(datetime.fromisoformat(match[1].decode()))
            except ValueError:
                continue
    return times


def not_matched(tags: list[bytes], tag: bytes) -> ApiError:
    """The answer to an If-Match that the task's present tag does not match."""
    if tags is MALFORMED:
        return bad_request("If-Match must be * or a list of entity tags")
    return ApiError(412, "The task was changed in the meantime", {"ETag": tag.decode()})


def _joined(values: list[bytes]) -> bytes:
    """Several headers of one name are one list (RFC 9110, 5.3)."""
    return b",".join(values).strip(b" \t")
