"""Bytes of the records that Redis keeps: sessions, open and ended, catalogue rows, trends. One codec, both sides."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from operator import attrgetter

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.events import shown
from contracts.formats import expect_known
from contracts.items import CatalogueRow, item_document, item_of
from contracts.sessions import CLICK, Session

SESSION_CODEC = 1
_SESSION = struct.Struct("<BBHHqqIqQ")  # codec, flags, window, dim, started, last, events, offset, model
_INCOMPLETE = 1

ROW_CODEC = 1
_ROW = struct.Struct("<BIiqQ")  # codec, document length, stock, created, model
_IN_HEADER = {"stock"}

TREND_CODEC = 4
"""Raised with every change of what a row of the trends table holds."""
PAIR_COUNTS = 3
_ORIGINS = 4
_MOST_NEIGHBOURS = 2**16 - 1

SHOWINGS_CODEC = 1
_SHOWINGS = struct.Struct("<BxxxI")  # codec, items

ENDED_CODEC, ENDED_TAKEN_CODEC = 1, 2
_ENDED = struct.Struct("<Bq")  # codec, started
ENDED_HEADER = np.dtype([("codec", "u1"), ("started_ms", "<i8")])
"""The beginning of an encoded ended session; the keys of its items follow. Of a session that took something
(ENDED_TAKEN_CODEC) `EndedSession.taken` comes last.
"""
ENDED_TAKEN = struct.Struct("<I")


def encode_session(session: Session) -> bytes:
    """Encode a session without its id (the key carries it): 42 + user + 25 a click + 4 a dimension bytes."""
    user = (session.user_id or "").encode()
    header = _SESSION.pack(
        SESSION_CODEC,
        _INCOMPLETE if session.incomplete else 0,
        len(session.window),
        len(session.embedding),
        session.started_ms,
        session.last_ms,
        session.events,
        session.last_offset,
        session.model_version,
    )
    return b"".join((header, session.window.tobytes(), session.embedding.tobytes(), user))


def decode_session(session_id: str, raw: bytes) -> Session:
    """Decode what `encode_session` made. Raises ValueError on another codec version."""
    _expect_room(raw, "session", "flush the sessions of the old release", _SESSION.size)
    _, flags, clicks, dim, started, last, events, offset, model = _SESSION.unpack_from(raw)
    at = _SESSION.size
    if len(raw) < at + clicks * CLICK.itemsize + 4 * dim:
        raise ValueError(
            f"expected a session of {clicks} clicks and {dim} dimensions, got {len(raw)} bytes: it was cut short"
        )
    window = np.frombuffer(raw, CLICK, clicks, at)
    at += clicks * CLICK.itemsize
    embedding = np.frombuffer(raw, np.float32, dim, at)
    user = raw[at + 4 * dim :].decode()
    return Session(
        session_id=session_id,
        user_id=user or None,
        started_ms=started,
        last_ms=last,
        events=events,
        last_offset=offset,
        window=window,
        embedding=embedding,
        model_version=model,
        incomplete=bool(flags & _INCOMPLETE),
    )


def encode_row(row: CatalogueRow) -> bytes:
    """Encode a catalogue row: header, JSON document, vector."""
    document = orjson.dumps(item_document(row.item_id, row.item, without=_IN_HEADER))
    header = _ROW.pack(ROW_CODEC, len(document), row.stock, row.created_ms, row.model_version)
    return b"".join((header, document, row.vector))


def decode_row(raw: bytes) -> CatalogueRow:
    """Decode what `encode_row` made. Raises ValueError for bytes that are no row: another codec version, cut short, or
    a document of no item.
    """
    _expect_room(raw, "catalogue_row", "load the catalogue again", _ROW.size)
    _, length, stock, created, model = _ROW.unpack_from(raw)
    if length > len(raw) - _ROW.size:
        raise ValueError(f"expected a row with a document of {length} bytes, got {len(raw)} bytes: it was cut short")
    document = orjson.loads(raw[_ROW.size : _ROW.size + length])
    item_id = document.pop("item_id", None) if isinstance(document, dict) else None
    if not isinstance(item_id, str):
        raise ValueError(f"expected an object with an item_id, got {shown(document, 80)}: put the item again")
    return CatalogueRow(
        item_id=item_id,
        item=item_of(document),
        stock=stock,
        created_ms=created,
        model_version=model,
        vector=raw[_ROW.size + length :],
    )


@dataclass(frozen=True, slots=True)
class ItemTrend:
    """What the trends flow knows of one item, as absolute values at `as_of_ms`.

    `popularity` is the decayed count of clicks: halve it once per half-life since `as_of_ms`. `views` decay likewise.
    `recent` counts clicks too, and halves sooner. How often the item was shown is counted apart: see `ShowingBlock`.
    `neighbours` (k,) are ItemKeys clicked in the same sessions, `weights` (k, 3) their co-visitation:
    clicked after the item, clicked before it, and either of them lately, which decays as `recent` does. `origin_counts`
    are the item's clicks by origin (`retrieval.trends.ClickOrigin`); these do not decay.

    Every field of type float is a count: the codec stores it, and `TrendColumns.counts_at` gives it, by its name. A new
    one goes last, with a default of 0.0, and raises TREND_CODEC.
    """

    as_of_ms: int
    popularity: float
    recent: float
    views: float
    neighbours: NDArray[np.uint64]
    weights: NDArray[np.float32]
    origin_counts: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def counts(self) -> tuple[float, ...]:
        """The counts, in the order of TREND_COUNTS."""
        counts: tuple[float, ...] = _counts_of(self)
        return counts


TREND_COUNTS = tuple(field.name for field in fields(ItemTrend) if field.type == "float")
"""Names of an item's counts, in the order in which they are stored."""
_counts_of = attrgetter(*TREND_COUNTS)
_TREND = struct.Struct(f"<BHq{len(TREND_COUNTS)}f{_ORIGINS}f")  # codec, neighbours, as of, counts, origin counts
TREND_HEADER = np.dtype(
    [
        ("codec", "u1"),
        ("neighbours", "<u2"),
        ("as_of_ms", "<i8"),
        ("counts", "<f4", (len(TREND_COUNTS),)),
        ("origin_counts", "<f4", (_ORIGINS,)),
    ]
)
"""The beginning of an encoded trend; the keys of its neighbours follow, and then their weights."""


def encode_trend(trend: ItemTrend) -> bytes:
    """Encode an item's trend: 27 bytes, 4 a count and 20 a neighbour."""
    header = _TREND.pack(TREND_CODEC, len(trend.neighbours), trend.as_of_ms, *trend.counts, *trend.origin_counts)
    return b"".join((header, trend.neighbours.tobytes(), trend.weights.tobytes()))


def encode_trends(
    as_of_ms: NDArray[np.int64],
    counts: NDArray[np.float32],
    origin_counts: NDArray[np.float32],
    starts: NDArray[np.int64],
    neighbours: NDArray[np.uint64],
    weights: NDArray[np.float32],
) -> list[bytes]:
    """Encode n trends at once, each as `encode_trend` does.

    `counts` (n, 3) come in the order of TREND_COUNTS, `origin_counts` are (n, 4). Those of `neighbours` (m,) and
    `weights` (m, 3) from `starts[i]` on, and before `starts[i + 1]`, belong to trend i; `starts` is (n + 1,).

    Raises ValueError for a trend with more neighbours than a row can tell.
    """
    held = np.diff(starts)
    if len(held) and not 0 <= held.min() <= held.max() <= _MOST_NEIGHBOURS:
        raise ValueError(f"expected 0 to {_MOST_NEIGHBOURS} neighbours a trend, got {held.min()} to {held.max()}")
    header = np.empty(len(as_of_ms), TREND_HEADER)
    header["codec"], header["neighbours"], header["as_of_ms"] = TREND_CODEC, held, as_of_ms
    header["counts"], header["origin_counts"] = counts, origin_counts
    heads = header.tobytes()
    keys, values = np.ascontiguousarray(neighbours, "<u8").tobytes(), np.ascontiguousarray(weights, "<f4").tobytes()
    size, wide = _TREND.size, 4 * PAIR_COUNTS
    places: list[int] = np.asarray(starts).tolist()
    return [
        heads[at : at + size] + keys[8 * begin : 8 * end] + values[wide * begin : wide * end]
        for at, begin, end in zip(range(0, len(heads), size), places, places[1:], strict=False)
    ]


def decode_trend(raw: bytes) -> ItemTrend:
    """Decode what `encode_trend` made. Raises ValueError on another codec version."""
    _expect_room(raw, "trend", "let the trends flow start afresh", _TREND.size)
    _, neighbours, as_of_ms, *values = _TREND.unpack_from(raw)
    at = _TREND.size
    if len(raw) != at + (8 + 4 * PAIR_COUNTS) * neighbours:
        raise ValueError(f"expected a trend of {neighbours} neighbours, got {len(raw)} bytes: it was cut short")
    counts = dict(zip(TREND_COUNTS, values[:-_ORIGINS], strict=True))
    entry, repeat, forward, back = values[-_ORIGINS:]
    return ItemTrend(
        as_of_ms=as_of_ms,
        neighbours=np.frombuffer(raw, np.uint64, neighbours, at),
        weights=np.frombuffer(raw, np.float32, PAIR_COUNTS * neighbours, at + 8 * neighbours).reshape(-1, PAIR_COUNTS),
        origin_counts=(entry, repeat, forward, back),
        **counts,
    )


@dataclass(frozen=True, slots=True)
class ShowingBlock:
    """How often n items were shown, and clicked where they were shown: decayed counts, each as of its item's newest
    showing. `keys` (n,) are distinct.
    """

    keys: NDArray[np.uint64]
    shown: NDArray[np.float32]
    clicked: NDArray[np.float32]


def encode_showings(block: ShowingBlock) -> bytes:
    """Encode a block of showings: 8 bytes and 16 an item."""
    header = _SHOWINGS.pack(SHOWINGS_CODEC, len(block.keys))
    return b"".join((header, block.keys.tobytes(), block.shown.tobytes(), block.clicked.tobytes()))


def decode_showings(raw: bytes) -> ShowingBlock:
    """Decode what `encode_showings` made, without a copy. Raises ValueError on another codec version."""
    _expect_room(raw, "showings", "let the trends flow start afresh", _SHOWINGS.size)
    _, items = _SHOWINGS.unpack_from(raw)
    at = _SHOWINGS.size
    if len(raw) != at + 16 * items:
        raise ValueError(f"expected showings of {items} items, got {len(raw)} bytes: they were cut short")
    return ShowingBlock(
        np.frombuffer(raw, np.uint64, items, at),
        np.frombuffer(raw, np.float32, items, at + 8 * items),
        np.frombuffer(raw, np.float32, items, at + 12 * items),
    )


@dataclass(frozen=True, slots=True)
class EndedSession:
    """What is kept of an ended session: when it began, and the ItemKeys (n,) of its last clicks, the newest last,
    an item as often as it was returned to. Bit i of `taken` says that item i of the kept clicks was put in the cart or
    bought in the session.
    """

    started_ms: int
    items: NDArray[np.uint64]
    taken: int = 0


def encode_ended(session: EndedSession) -> bytes:
    """Encode an ended session: 9 bytes and 8 an item, and 4 where something was taken."""
    if session.taken:
        taken = ENDED_TAKEN.pack(session.taken)
        return _ENDED.pack(ENDED_TAKEN_CODEC, session.started_ms) + session.items.tobytes() + taken
    return _ENDED.pack(ENDED_CODEC, session.started_ms) + session.items.tobytes()


def decode_ended(raw: bytes) -> EndedSession:
    """Decode what `encode_ended` made. Raises ValueError on another codec version."""
    if len(raw) >= _ENDED.size and raw[0] > ENDED_TAKEN_CODEC:
        expect_known("ended", raw[0])
    if len(raw) < _ENDED.size or raw[0] not in (ENDED_CODEC, ENDED_TAKEN_CODEC):
        raise ValueError(
            f"expected ended-session codec {ENDED_CODEC} or {ENDED_TAKEN_CODEC} and a time, got {raw[:9]!r}: it does "
            "not vote until a later session takes its slot"
        )
    codec, started = _ENDED.unpack_from(raw)
    room = len(raw) - _ENDED.size - (ENDED_TAKEN.size if codec == ENDED_TAKEN_CODEC else 0)
    if room < 0 or room % 8:
        raise ValueError(f"expected an ended session of whole items, got {len(raw)} bytes: it was cut short")
    items = np.frombuffer(raw, np.uint64, room // 8, _ENDED.size)
    if codec == ENDED_CODEC:
        return EndedSession(started, items)
    [taken] = ENDED_TAKEN.unpack_from(raw, len(raw) - ENDED_TAKEN.size)
    if not taken:
        raise ValueError("expected an ended session that took something, got one that took nothing: it does not vote")
    return EndedSession(started, items, taken)


def _expect_room(raw: bytes, form: str, remedy: str, header: int) -> None:
    """Expect a version that is read and a whole header. Raises ValueError, NewerFormat."""
    if not raw:
        raise ValueError(f"expected a {form}, got no bytes: {remedy}")
    expect_known(form, raw[0], remedy)
    if len(raw) < header:
        raise ValueError(f"expected a {form} of at least {header} bytes, got {len(raw)}: it was cut short")
