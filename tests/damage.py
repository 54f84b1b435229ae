"""What may become of the bytes of one row, record or blob; and rows of every table to try it on."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import orjson
from hypothesis import strategies as st

from contracts.codec import (
    ROW_CODEC,
    EndedSession,
    ItemTrend,
    ShowingBlock,
    encode_ended,
    encode_row,
    encode_session,
    encode_showings,
    encode_trend,
)
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item
from contracts.keys import CATALOGUE, ENDED, SHOWINGS, TRENDS
from contracts.sessions import CLICK, Session

_HEADER = struct.Struct("<BIiqQ")
"""Of a catalogue row: codec, document length, stock, created, model."""
NOW = 1_700_000_000_000


def damaged(good: bytes) -> dict[str, bytes]:
    """Return `good` in every way in which storage, a crash or another release may have left it."""
    random = np.random.default_rng(5)
    return {
        "no bytes": b"",
        "one byte": good[:1],
        "cut in the header": good[:7],
        "cut in the middle": good[: len(good) // 2],
        "cut by a byte": good[:-1],
        "zeros": bytes(len(good)),
        "another codec": bytes((good[0] ^ 0x40,)) + good[1:],
        "random": random.bytes(200),
        "random behind the codec": good[:1] + random.bytes(200),
    }


def flipped(good: bytes) -> st.SearchStrategy[bytes]:
    """Any bytes, or `good` with some of its bytes replaced."""
    places = st.dictionaries(st.integers(0, len(good) - 1), st.integers(0, 255), min_size=1, max_size=8)
    return st.binary(max_size=300) | places.map(
        lambda found: bytes(found.get(at, byte) for at, byte in enumerate(good))
    )


def catalogue_row(name: str, vector: bytes = b"", version: int = 0) -> bytes:
    return encode_row(CatalogueRow(name, Item(title=name, price=5.0), 5, NOW, version, vector))


def with_document(document: object) -> bytes:
    """A catalogue row of any JSON."""
    raw = document if isinstance(document, bytes) else orjson.dumps(document)
    return _HEADER.pack(ROW_CODEC, len(raw), 5, NOW, 0) + raw


def a_trend() -> ItemTrend:
    neighbours = np.array([item_key("x"), item_key("y")], np.uint64)
    counts = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 0.5]], np.float32)
    return ItemTrend(NOW, 8.0, 4.0, 6.0, neighbours, counts, (1, 0, 3, 2))


def some_showings() -> ShowingBlock:
    keys = np.array([item_key("x"), item_key("y")], np.uint64)
    return ShowingBlock(keys, np.array([8.0, 2.0], np.float32), np.array([1.0, 0.0], np.float32))


def _wrong_showings() -> dict[str, bytes]:
    block = some_showings()
    return {
        "NaN count": encode_showings(replace(block, shown=np.full(2, np.nan, np.float32))),
        "negative count": encode_showings(replace(block, clicked=np.full(2, -1, np.float32))),
        "an item twice": encode_showings(replace(block, keys=np.repeat(block.keys[:1], 2))),
        "a byte too long": encode_showings(block) + b"x",
    }


def an_ended() -> EndedSession:
    return EndedSession(NOW, np.array([item_key("x"), item_key("y"), item_key("z")], np.uint64))


def a_session(name: str = "s", dim: int = 4) -> Session:
    window = np.array([(NOW, 7, 8, 1), (NOW + 5, 8, 9, 1)], CLICK)
    return Session(name, None, NOW, NOW + 5, 2, 41, window, np.ones(dim, np.float32), 5)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@dataclass(frozen=True)
class TableRows:
    """A table by name: its key and row for a name, and rows that only this table can have wrong."""

    table: str
    replica: str
    key: Callable[[str], int]
    row: Callable[[str], bytes]
    wrong: dict[str, bytes]

    def put(self, *names: str) -> dict[bytes, bytes]:
        return {self.name(name): self.row(name) for name in names}

    def name(self, name: str) -> bytes:
        return self.key(name).to_bytes(8, "little")

    def kinds(self) -> dict[str, bytes]:
        """Return every way in which the row of `bad` may be wrong."""
        return {**damaged(self.row("bad")), **self.wrong}


def _slot(name: str) -> int:
    return sum(name.encode())


def _wrong_sessions() -> dict[str, bytes]:
    session = a_session()
    window = session.window.copy()
    window["ts_ms"][1] = 2**62
    return {
        "NaN in the embedding": encode_session(replace(session, embedding=np.full(4, np.nan, np.float32))),
        "ends before it begins": encode_session(replace(session, last_ms=3)),
        "fewer events than clicks": encode_session(replace(session, events=1)),
        "as many events as a number holds": encode_session(replace(session, events=2**32 - 1)),
        "a click of another age": encode_session(replace(session, window=window)),
    }


def _wrong_trends() -> dict[str, bytes]:
    trend = a_trend()
    return {
        "NaN count": encode_trend(replace(trend, views=float("nan"))),
        "infinite count": encode_trend(replace(trend, popularity=float("inf"))),
        "negative count": encode_trend(replace(trend, recent=-1.0)),
        "NaN click origins": encode_trend(replace(trend, origin_counts=(0, 0, float("nan"), 0))),
        "NaN weight": encode_trend(replace(trend, weights=np.full((2, 3), np.nan, np.float32))),
        "of no time": encode_trend(replace(trend, as_of_ms=2**62)),
        "a byte too long": encode_trend(trend) + b"x",
    }


WRONG_DOCUMENTS: dict[str, object] = {
    "a list": [1, 2],
    "null": None,
    "no id": {"title": "bad"},
    "no title": {"item_id": "bad"},
    "nested 300 deep": b'{"item_id":"bad","title":"bad","attributes":{"a":' + nested(300) + b"}}",
    "an unknown field nested 1010 deep": b'{"item_id":"bad","title":"bad","x":' + nested(1010) + b"}",
    "a word for a price": {"item_id": "bad", "title": "bad", "price": "nine"},
    "a list for a brand": {"item_id": "bad", "title": "bad", "brand": ["x"]},
    "no attributes": {"item_id": "bad", "title": "bad", "attributes": False},
    "a number for an address": {"item_id": "bad", "title": "bad", "image_url": 5},
    "a word for a vector": {"item_id": "bad", "title": "bad", "image_vector": "x"},
    "a number for regions": {"item_id": "bad", "title": "bad", "regions": 5},
    "an age that is none": {"item_id": "bad", "title": "bad", "min_age": 10**9},
    "another item": {"item_id": "good", "title": "bad"},
}

TABLES = {
    "catalogue": TableRows(
        CATALOGUE, "catalogue", item_key, catalogue_row,
        {
            **{name: with_document(document) for name, document in WRONG_DOCUMENTS.items()},
            "a document longer than the row": _HEADER.pack(ROW_CODEC, 2**31, 5, NOW, 0) + b"{}",
            "a stock below none": encode_row(CatalogueRow("bad", Item(title="bad"), -1, NOW, 0, b"")),
            "made in no time": encode_row(CatalogueRow("bad", Item(title="bad"), 1, -5, 0, b"")),
        },
    ),
    "trends": TableRows(TRENDS, "trends", item_key, lambda _: encode_trend(a_trend()), _wrong_trends()),
    "showings": TableRows(
        SHOWINGS, "showings", _slot, lambda _: encode_showings(some_showings()), _wrong_showings()
    ),
    "ended": TableRows(
        ENDED, "ended", _slot, lambda _: encode_ended(an_ended()),
        {"of no time": encode_ended(replace(an_ended(), started_ms=-1))},
    ),
}  # fmt: skip

TABLE_CASES = [(table, kind) for table, rows in TABLES.items() for kind in rows.kinds()]
SESSION_BLOBS = {**damaged(encode_session(a_session())), **_wrong_sessions()}
