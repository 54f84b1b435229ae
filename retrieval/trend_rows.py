"""Rows of the trends table, from bytes into columns: as many at once as came, without an object for any of them.

The layout is that of `contracts.codec.encode_trend`. What of it may change with a release, kernels are given: they do
not notice that another file did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from compiled.lookups import half_bits
from contracts.codec import TREND_CODEC, TREND_HEADER, decode_trend
from contracts.plausible import LAST_MS, MOST, expect_trend
from retrieval.key_rows import Keys, Rows

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

_COUNTS_AT: Final = 11
"""Bytes of a row before its counts: codec, neighbours, as of."""
_PAIR: Final = 20
"""Bytes of a neighbour: the keys of all come first, 8 each, then the three weights of each, 12."""
_LEAST_CLICKS: Final = 1e-30
"""All of an item's clicks may have faded."""


def joined(rows: Sequence[bytes | None]) -> tuple[Bytes, Places]:
    """Return encoded trends (n,), one after the other, and where each begins, (n + 1,); None takes no room.

    Each is looked at. Raises ValueError for one that is no trend such as the trends flow writes, as `decode_trend` and
    `expect_trend` do.
    """
    parts = [row or b"" for row in rows]
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=starts[1:])
    raw = np.frombuffer(b"".join(parts), np.uint8)
    at = _first_wrong(raw, starts, TREND_CODEC, TREND_HEADER.itemsize, LAST_MS, MOST)
    wrong = parts[at] if at < len(parts) else b"" if b"" in rows else None
    if wrong is not None:
        expect_trend(decode_trend(wrong))
        raise ValueError(f"expected a trend such as the trends flow writes, got {wrong[:60]!r}")
    return raw, starts


@kernel(reads("u1"), reads("i8"), "i8", "i8", "i8", "f8")
def _first_wrong(raw: Bytes, starts: Places, codec: int, header: int, last_ms: int, most: float) -> int:
    """Return the first row that no flow wrote, of n rows; n for none."""
    for at in range(starts.shape[0] - 1):
        begin, end = starts[at], starts[at + 1]
        if begin == end:
            continue
        if end - begin < header or raw[begin] != codec:
            return at
        held = _held(raw, begin)
        if end - begin != header + _PAIR * held or not 0 <= _int64(raw, begin + 3) <= last_ms:
            return at
        for count in range(begin + _COUNTS_AT, begin + header, 4):
            if not 0.0 <= np.float64(_float32(raw, count)) <= most:
                return at
        for weight in range(begin + header + 8 * held, end, 4):
            if not np.float32(0.0) <= _float32(raw, weight) <= np.float32(most):
                return at
    return int(starts.shape[0] - 1)


@kernel(
    *(reads("u1"), reads("i8"), reads("u8"), reads("i4"), "i8", "i8", "f8", "f8", "f8"),
    *(writes("u8"), writes("u8", 2), writes("u2", 3), writes("f8"), writes("f8")),
    *(writes("i8"), writes("f4", 2), writes("f4", 2), writes("f8")),
)
def write_trends(
    raw: Bytes,
    starts: Places,
    row_keys: Keys,
    rows: Rows,
    popularity: int,
    recent: int,
    half_life_ms: float,
    recent_half_life_ms: float,
    backward: float,
    keys: Keys,
    neighbours: Keys,
    shares: NDArray[np.uint16],
    heat: Float64s,
    recent_heat: Float64s,
    as_of_ms: Places,
    counts: Float32s,
    origins: Float32s,
    sums: Float64s,
) -> None:
    """Write what `joined` returned, of items `row_keys` (n,), into rows (n,) of `TrendColumns`; -1 is left out.

    `popularity` and `recent` say which of the counts these are. `sums` (2,) are the transitions of all items, and how
    many items were ever clicked.
    """
    header = _COUNTS_AT + 4 * (counts.shape[1] + origins.shape[1])
    for at in range(rows.shape[0]):
        row, begin = rows[at], starts[at]
        if row < 0:
            continue
        _weigh(origins, row, -1.0, sums)
        keys[row] = row_keys[at]
        shares[row] = 0
        if starts[at + 1] == begin:
            heat[row] = recent_heat[row] = -np.inf
            counts[row] = np.float32(0.0)
            origins[row] = np.float32(0.0)
            continue
        as_of_ms[row] = _int64(raw, begin + 3)
        _read_floats(raw, begin + _COUNTS_AT, counts, row)
        _read_floats(raw, begin + _COUNTS_AT + 4 * counts.shape[1], origins, row)
        heat[row] = _heat(counts[row, popularity], as_of_ms[row] / half_life_ms)
        recent_heat[row] = _heat(counts[row, recent], as_of_ms[row] / recent_half_life_ms)
        clicks = (np.float64(counts[row, popularity]), np.float64(counts[row, recent]))
        _write_pairs(raw, begin + header, _held(raw, begin), clicks, np.float32(backward), neighbours, shares, row)
        _weigh(origins, row, 1.0, sums)


@inlined
def _write_pairs(
    raw: Any, begin: Any, held: Any, clicks: Any, backward: Any, neighbours: Any, shares: Any, row: Any
) -> None:
    """Write the first neighbours, and each kind of weight over the clicks of its pace."""
    kept, weights = min(held, neighbours.shape[1]), begin + 8 * held
    slow, lately = max(clicks[0], _LEAST_CLICKS), max(clicks[1], _LEAST_CLICKS)
    for pair in range(kept):
        after, before, recent = _weights(raw, weights, pair)
        slow = max(slow, np.float64(after + backward * before), np.float64(before))
        lately = max(lately, np.float64(recent))
    over, over_lately = np.float32(slow), np.float32(lately)
    for pair in range(kept):
        neighbours[row, pair] = np.uint64(_int64(raw, begin + 8 * pair))
        after, before, recent = _weights(raw, weights, pair)
        shares[row, pair, 0] = half_bits((after + backward * before) / over)
        shares[row, pair, 1] = half_bits(after / over)
        shares[row, pair, 2] = half_bits(before / over)
        shares[row, pair, 3] = half_bits(recent / over_lately)


@inlined
def _weights(raw: Any, begin: Any, pair: Any) -> Any:
    at = begin + 12 * pair
    return _float32(raw, at), _float32(raw, at + 4), _float32(raw, at + 8)


@inlined
def _weigh(origins: Any, row: Any, sign: Any, sums: Any) -> None:
    """Add a row to what is summed up over all items, or take it away. Of its clicks by origin, the last two came from
    another item.
    """
    moved = np.float64(origins[row, 2]) + np.float64(origins[row, 3])
    sums[0] += sign * moved
    if np.float64(origins[row, 0]) + np.float64(origins[row, 1]) + moved > 0.0:
        sums[1] += sign


@inlined
def _heat(count: Any, half_lives: Any) -> Any:
    return np.log2(np.float64(count)) + half_lives if count > 0 else -np.inf


@inlined
def _read_floats(raw: Any, begin: Any, into: Any, row: Any) -> None:
    for at in range(into.shape[1]):
        into[row, at] = _float32(raw, begin + 4 * at)


@inlined
def _held(raw: Any, begin: Any) -> Any:
    """Return how many neighbours a row tells of."""
    return np.int64(raw[begin + 1]) | np.int64(raw[begin + 2]) << 8


@inlined
def _word(raw: Any, at: Any) -> Any:
    """Return four bytes, the lowest first: numbers in rows stand where they stand."""
    low = np.int64(raw[at]) | np.int64(raw[at + 1]) << 8
    return low | np.int64(raw[at + 2]) << 16 | np.int64(raw[at + 3]) << 24


@inlined
def _float32(raw: Any, at: Any) -> Any:
    return np.uint32(_word(raw, at)).view(np.float32)


@inlined
def _int64(raw: Any, at: Any) -> Any:
    return _word(raw, at) | _word(raw, at + 4) << 32
