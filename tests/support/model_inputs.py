"""The inputs of the model test: valid, at the limits, forged and malformed."""

from hypothesis import strategies as st

MALFORMED_IDS = (
    "1", "null", "not-a-uuid", "%00", "%F0%9F%8D%8E", "'%20or%201=1--", "00000000-0000-4000-8000-00000000000g",
    "{00000000-0000-4000-8000-000000000000}", "urn:uuid:00000000-0000-4000-8000-000000000000",
    "00000000000040008000000000000000", "00000000-0000-4000-8000-000000000000%20", "..;", "*", "9" * 300,
)  # fmt: skip
MALFORMED_BODIES = (
    b"", b"{", b"[]", b'"title"', b"null", b"1", b"{'title': 1}", b'{"title": "a", "x": NaN}', b'{"title": "\xff"}',
    b'{"title": "\\ud800"}', b'{"title": "a", "description": "\\udfff"}', b'{"title": "a", "completed": Infinity}',
    b'{"title": "a",}', b'{"title": "a"} x', b"[" * 500,
)  # fmt: skip
TEXTS = ("Buy milk", "a", "  padded\u3000", "🍎", "אבג ‮x", "'; drop table tasks; --", "<b>&amp;</b>", 'q"\\/\b\n')
LONG = ("x" * 255, "🍎" * 255, " " + "y" * 255 + "\n", "z" * 256, "🍎" * 256)
NO_TITLE = (None, "", " \t\u2003", "\0", "a\0b", 1, True, ["a"], {"a": 1})
DESCRIPTIONS = (*TEXTS, None, None, "", "d" * 1000, "🍎" * 1000, "d" * 1001, "\0", 1, False, ["a"])
NO_BOOLEAN: tuple[object, ...] = (None, 0, 1, "true", [], {})

some = st.integers(0, 11)
keys = st.sampled_from((None, "k1", "k1", "k2"))
# The version in If-Match: none, any, the current one, an old one, or one that never existed.
versions = st.sampled_from((None, None, "*", "present", "present", "stale", "never"))
old_versions = st.sampled_from(("stale", "never"))
good_titles = st.sampled_from(TEXTS)
titles = st.sampled_from(TEXTS * 3 + LONG + NO_TITLE) | st.text(min_size=1, max_size=9)
completed = st.sampled_from((True, False) * 4 + NO_BOOLEAN)
optional = {"description": st.sampled_from(DESCRIPTIONS)}
# A create must ignore `completed`, so it is always sent.
new_tasks = st.fixed_dictionaries({"title": titles, "completed": completed}, optional=optional)
changes = st.fixed_dictionaries({}, optional={"title": titles, "completed": completed, **optional})
malformed_bodies = st.sampled_from(MALFORMED_BODIES)
lies = st.sets(st.sampled_from(("user_id", "id", "created_at", "updated_at", "owner", "x")), max_size=3)
tasks = st.tuples(st.sampled_from(("own", "own", "own", "seen", "seen", "upper", "random", "malformed")), some)
operations = st.sampled_from(("list", "get", "create", "update", "delete"))
forgeries = st.sampled_from(("absent", "resigned", "borrowed", "none", "expired", "cut", "basic", "empty"))
