"""Names that a JSON document gives twice are found, in small documents with their place, in large ones at all."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.given_once import LARGEST, given_twice, twice

PADDING = b'"padding": "' + b'\\\\ \\" : {} ' * (LARGEST // 10) + b'"'


def found(raw: bytes) -> list[Any]:
    return given_twice(raw, orjson.loads(raw))


@pytest.mark.parametrize(
    ("raw", "places"),
    [
        (b'{"a": 1, "b": {"a": 2}}', []),
        (b'{"a": 1, "a": 2}', [("a",)]),
        (b'{"l": [{"x:": 1, "x:": ":"}]}', [("l", 0, "x:")]),
        (b'{"a\\"": 1, "a\\u0022": 2}', [('a"',)]),
        (b'{"a\\\\": 1, "b": ":\\\\"}', []),
    ],
)
def test_names_are_found_in_documents_of_any_size(raw: bytes, places: list[Any]) -> None:
    assert found(raw) == places
    large = raw[:-1] + b", " + PADDING + b"}"
    assert found(large) == ([()] if places else [])
    assert len(large) > LARGEST


def test_what_is_said_of_a_large_document_says_why_there_is_no_place() -> None:
    assert twice(()) == (
        "expected each name once in its object, got one more than once: in more than 250,000 bytes it is not said where"
    )


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text('ab":\\{}[],', max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text('ab":\\', max_size=3), part, max_size=3),
    max_leaves=8,
)


@given(document=anything)
def test_a_large_document_without_such_names_is_never_refused(document: Any) -> None:
    assert found(orjson.dumps({"d": document})[:-1] + b", " + PADDING + b"}") == []
