"""Plain requests: the decoder never says yes where the schema says no, and reads the same where it says yes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.api import RecommendationRequest
from contracts.plain_requests import PlainRequest, plain, plain_request

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8) | st.sampled_from(["x" * 256, "x" * 257])
ODD = st.none() | st.booleans() | st.integers(-2, 101) | st.floats(allow_nan=False) | TEXT | st.lists(TEXT, max_size=3)
TOKENS = st.sampled_from(["p1:2", "p0001:123456789012345678", "p1:2\n", "p12345:1", "p\u0661:2", "", "p1:"])
DOCUMENTS = st.fixed_dictionaries(
    {"session_id": TEXT | ODD},
    optional={
        "user_id": TEXT | ODD,
        "item_id": TEXT | ODD,
        "limit": st.integers(-1, 102) | ODD,
        "context": st.none() | st.dictionaries(TEXT, ODD, max_size=2) | ODD,
        "recent_events": st.none() | st.lists(st.dictionaries(TEXT, ODD, max_size=1), max_size=2),
        "exclude": st.lists(TEXT, max_size=3) | ODD,
        "after": TOKENS | ODD,
        "candidates": st.lists(TEXT, max_size=3) | ODD,
        "explain": st.booleans() | ODD,
        "other": ODD,
    },
)


@given(DOCUMENTS)
def test_a_plain_request_is_one_that_the_schema_takes_and_says_the_same(document: dict[str, Any]) -> None:
    found = plain_request(orjson.dumps(document))
    if found is not None:
        assert found == plain(RecommendationRequest.model_validate(document))


@given(DOCUMENTS)
def test_what_the_schema_refuses_is_not_plain(document: dict[str, Any]) -> None:
    try:
        RecommendationRequest.model_validate(document)
    except ValidationError:
        assert plain_request(orjson.dumps(document)) is None


def test_the_common_shape_is_plain() -> None:
    assert plain_request(b'{"session_id":"s1","limit":20}') == PlainRequest("s1")
    assert plain_request(b'{"session_id":"s1","item_id":"i","after":"p3:17","explain":true,"limit":3}') == PlainRequest(
        "s1", item_id="i", after="p3:17", explain=True, limit=3
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"session_id":"s1"} x',
        b'{"session_id":"\\ud800"}',
        b'{"session_id":"\xff"}',
        b'{"session_id":"s1","limit":NaN}',
        b'{"session_id":"s1","limit":20.0}',
        b'{"session_id":"s1","context":{}}',
        b'{"session_id":"s1","recent_events":[]}',
        b'{"session_id":"s1","exclude":' + b"[" * 3000 + b"]" * 3000 + b"}",
    ],
)
def test_what_is_odd_is_left_to_the_schema(body: bytes) -> None:
    assert plain_request(body) is None
