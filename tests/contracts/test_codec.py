"""What is encoded for Redis comes back as it was."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import (
    ItemTrend,
    decode_row,
    decode_session,
    decode_trend,
    encode_row,
    encode_session,
    encode_trend,
    encode_trends,
)
from contracts.items import CatalogueRow, Item
from contracts.sessions import CLICK, Session

U64 = st.integers(0, 2**64 - 1)
MS = st.integers(0, 2**53)
F32 = st.floats(-1, 1, width=32)


@given(
    user=st.none() | st.text(min_size=1, max_size=20),
    clicks=st.lists(st.tuples(MS, U64, U64, st.integers(0, 255)), max_size=60),
    embedding=st.lists(F32, max_size=16),
    numbers=st.tuples(MS, MS, st.integers(0, 2**32 - 1), st.integers(-1, 2**53), U64),
    incomplete=st.booleans(),
)
def test_a_session_comes_back_as_it_was(
    user: str | None,
    clicks: list[tuple[int, int, int, int]],
    embedding: list[float],
    numbers: tuple[int, int, int, int, int],
    incomplete: bool,
) -> None:
    started, last, events, offset, model = numbers
    window, vector = np.array(clicks, CLICK), np.array(embedding, np.float32)
    session = Session("s", user, started, last, events, offset, window, vector, model, incomplete)
    back = decode_session("s", encode_session(session))
    assert back.window.tolist() == clicks
    assert back.embedding.tolist() == vector.tolist()
    assert (back.user_id, back.started_ms, back.last_ms) == (user, started, last)
    assert (back.events, back.last_offset, back.model_version) == (events, offset, model)
    assert back.incomplete is incomplete


def test_a_session_of_three_clicks_and_64_dimensions_is_373_bytes() -> None:
    session = Session("s", None, 0, 0, 3, 0, np.zeros(3, CLICK), np.zeros(64, np.float32), 1)
    assert len(encode_session(session)) == 373


def test_another_codec_version_is_refused_with_what_to_do() -> None:
    raw = encode_session(Session("s", None, 0, 0, 0, 0, np.zeros(0, CLICK), np.zeros(0, np.float32), 1))
    with pytest.raises(ValueError, match="expected session of version 1 at most, got 9: a newer release wrote it"):
        decode_session("s", b"\x09" + raw[1:])


def test_a_row_comes_back_with_unknown_fields_and_its_own_stock() -> None:
    item = Item.model_validate({"title": "Shoe", "price": 9.5, "stock": 3, "regions": ["de"], "colour": "red"})
    back = decode_row(encode_row(CatalogueRow("a", item, 2, 77, 5, b"\0" * 8)))
    assert (back.item_id, back.stock, back.created_ms, back.model_version, len(back.vector)) == ("a", 2, 77, 5, 8)
    assert (back.item.title, back.item.price, back.item.regions) == ("Shoe", 9.5, ["de"])
    assert back.item.model_extra == {"colour": "red"}
    assert back.item.stock is None


@given(st.lists(st.tuples(U64, F32, F32, F32), max_size=50), MS, st.tuples(*[F32] * 7))
def test_a_trend_comes_back_as_it_was(
    neighbours: list[tuple[int, float, float, float]], as_of: int, counts: tuple[float, ...]
) -> None:
    keys = np.array([key for key, *_ in neighbours], np.uint64)
    weights = np.array([weights for _, *weights in neighbours], np.float32).reshape(-1, 3)
    first, again, on, back_to = counts[3:]
    raw = encode_trend(ItemTrend(as_of, *counts[:3], keys, weights, (first, again, on, back_to)))
    assert len(raw) == 39 + 20 * len(neighbours)
    back = decode_trend(raw)
    assert (back.as_of_ms, back.popularity, back.recent, back.views) == (as_of, *counts[:3])
    assert back.origin_counts == counts[3:]
    assert back.neighbours.tolist() == keys.tolist()
    assert back.weights.tolist() == weights.tolist()


@given(
    st.lists(st.tuples(MS, st.tuples(*[F32] * 7), st.lists(st.tuples(U64, F32, F32, F32), max_size=6)), max_size=8),
    st.integers(0, 3),
)
def test_trends_encoded_at_once_are_to_the_byte_those_encoded_one_by_one(
    trends: list[tuple[int, tuple[float, ...], list[tuple[int, float, float, float]]]], first: int
) -> None:
    pairs = [(0, 0.0, 0.0, 0.0)] * first + [pair for *_, found in trends for pair in found]
    keys = np.array([key for key, *_ in pairs], np.uint64)
    weights = np.array([weights for _, *weights in pairs], np.float32).reshape(-1, 3)
    starts = first + np.cumsum([0, *[len(found) for *_, found in trends]])
    numbers = np.array([counts for _, counts, _ in trends], np.float32).reshape(-1, 7)
    as_of = np.array([ms for ms, *_ in trends], np.int64)
    made = encode_trends(as_of, numbers[:, :3], numbers[:, 3:], starts, keys, weights)
    spans = [slice(begin, end) for begin, end in itertools.pairwise(starts.tolist())]
    assert made == [
        encode_trend(ItemTrend(ms, *counts[:3], keys[span], weights[span], counts[3:]))
        for (ms, counts, _), span in zip(trends, spans, strict=True)
    ]


def test_more_neighbours_than_a_row_can_tell_are_refused() -> None:
    none = np.zeros((1, 4), np.float32)
    keys, weights = np.zeros(65_536, np.uint64), np.zeros((65_536, 3), np.float32)
    with pytest.raises(ValueError, match="expected 0 to 65535 neighbours a trend, got 65536 to 65536"):
        encode_trends(np.zeros(1, np.int64), none[:, :3], none, np.array([0, 65_536]), keys, weights)


@pytest.mark.parametrize(
    "document", [b"[]", b"7", b'{"title": "x"}', b'{"item_id": 7, "title": "x"}', b'{"item_id": "a"}']
)
def test_a_row_whose_document_is_no_item_is_refused(document: bytes) -> None:
    raw = encode_row(CatalogueRow("a", Item(title="Shoe"), 2, 77, 5, b""))
    header = raw[:1] + len(document).to_bytes(4, "little") + raw[5:25]
    with pytest.raises(ValueError, match="expected"):
        decode_row(header + document)
