"""What decodes and was never written by a flow is refused, and what flows write is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import (
    decode_ended,
    decode_row,
    decode_session,
    decode_trend,
    encode_ended,
    encode_session,
    encode_trend,
)
from contracts.ids import item_key
from contracts.items import Item
from contracts.plausible import deeper_than, expect_ended, expect_row, expect_session, expect_shallow, expect_trend
from tests.damage import SESSION_BLOBS, TABLE_CASES, TABLES, a_session, a_trend, an_ended, catalogue_row


def deep(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@given(levels=st.integers(0, 60), most=st.integers(0, 60))
def test_depth_is_counted_in_lists_and_objects(levels: int, most: int) -> None:
    assert deeper_than(deep(levels), most) == (levels > most)
    assert deeper_than([[], {}, 3, "x"], 2) is False
    assert deeper_than([], 0) is True


def test_an_item_may_be_nested_as_deep_as_answers_can_show() -> None:
    expect_shallow(Item.model_validate({"title": "t", "attributes": {"a": deep(199)}, "own": deep(200)}))
    for fields in ({"attributes": {"a": deep(200)}}, {"own": deep(201)}):
        with pytest.raises(ValueError, match="nested at most 200 deep"):
            expect_shallow(Item.model_validate({"title": "t", **fields}))


def test_what_flows_write_is_taken() -> None:
    expect_session(decode_session("s", encode_session(a_session())))
    expect_trend(decode_trend(encode_trend(a_trend())))
    expect_ended(decode_ended(encode_ended(an_ended())))
    expect_row(item_key("a"), decode_row(catalogue_row("a")))


def taken(table: str, raw: bytes) -> None:
    if table == "trends":
        expect_trend(decode_trend(raw))
    elif table == "ended":
        expect_ended(decode_ended(raw))
    else:
        expect_row(item_key("bad"), decode_row(raw))


@pytest.mark.parametrize(("table", "kind"), TABLE_CASES)
def test_nothing_that_is_wrong_is_taken(table: str, kind: str) -> None:
    with pytest.raises((ValueError, KeyError, AttributeError, TypeError)):
        taken(table, TABLES[table].kinds()[kind])


@pytest.mark.parametrize("kind", SESSION_BLOBS)
def test_a_damaged_session_is_refused_with_what_was_expected(kind: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        expect_session(decode_session("s", SESSION_BLOBS[kind]))


@pytest.mark.parametrize("cut", range(40))
def test_a_row_that_was_cut_short_says_so(cut: int) -> None:
    said = "expected|cut short"
    for table, good in (("trends", encode_trend(a_trend())), ("catalogue", catalogue_row("bad"))):
        with pytest.raises(ValueError, match=said):
            taken(table, good[:cut])
    with pytest.raises(ValueError, match=said):
        decode_session("s", encode_session(a_session())[:cut])
