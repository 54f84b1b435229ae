"""Rows of the trends table, from bytes into columns: as many at once as came, without an object for any of them.

The layout is that of `contracts.codec.encode_trend`. What of it may change with a release, kernels are given: they do
not notice that another file did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
_LOOKED_AT: Final = 512
"""Weights that are looked at together."""


@dataclass(frozen=True, slots=True)
class EncodedTrends:
    """Encoded trends of n items, wherever they stand in `raw`: that of `keys[i]` (n,) begins at `begins[i]` and ends
    before `ends[i]`; where the two are the same the item has none.
    """

    keys: Keys
    raw: Bytes
    begins: Places
    ends: Places

    def __len__(self) -> int:
        return len(self.keys)

    def expect_trends(self) -> None:
        """Look at each. Raises ValueError for one that is no trend such as the trends flow writes, as `decode_trend`
        and `expect_trend` do.
        """
        room = np.empty(_LOOKED_AT, np.int32)
        at = _first_wrong(
            self.raw, self.begins, self.ends, TREND_CODEC, TREND_HEADER.itemsize, LAST_MS, MOST,
            room, room.view(np.uint8),
        )  # fmt: skip
        if at < len(self.begins):
            wrong = self.raw[self.begins[at] : self.ends[at]].tobytes()
            expect_trend(decode_trend(wrong))
            raise ValueError(f"expected a trend such as the trends flow writes, got {wrong[:60]!r}")

    def latest(self) -> EncodedTrends:
        """Return the last one of each item, in the order in which items come first."""
        _, firsts = np.unique(self.keys, return_index=True)
        if len(firsts) == len(self.keys):
            return self
        _, lasts = np.unique(self.keys[::-1], return_index=True)
        order = np.argsort(firsts)
        kept = len(self.keys) - 1 - lasts[order]
        return EncodedTrends(self.keys[kept], self.raw, self.begins[kept], self.ends[kept])


def joined(rows: Sequence[tuple[int, bytes | None]]) -> EncodedTrends:
    """Return encoded trends by item, None where it has none. Each is looked at: see `expect_trends`. Raises
    OverflowError for a number that is no key.
    """
    parts = [row or b"" for _, row in rows]
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=starts[1:])
    raw = np.frombuffer(b"".join(parts), np.uint8)
    places = np.zeros(0, np.uint64), raw, starts[:-1], starts[1:]
    EncodedTrends(*places).expect_trends()
    if any(row == b"" for _, row in rows):
        expect_trend(decode_trend(b""))
    return EncodedTrends(np.fromiter((key for key, _ in rows), np.uint64, len(rows)), *places[1:])


@kernel(reads("u1"), reads("i8"), reads("i8"), "i8", "i8", "i8", "f8", writes("i4"), writes("u1"))
def _first_wrong(
    raw: Bytes,
    begins: Places,
    ends: Places,
    codec: int,
    header: int,
    last_ms: int,
    most: float,
    room: NDArray[np.int32],
    room_bytes: Bytes,
) -> int:
    """Return the first row that no flow wrote, of n rows; n for none. `room_bytes` are those of `room`."""
    for at in range(begins.shape[0]):
        begin, end = begins[at], ends[at]
        if begin == end:
            continue
        if end - begin < header or raw[begin] != codec:
            return at
        held = _held(raw, begin)
        if end - begin != header + _PAIR * held or not 0 <= _int64(raw, begin + 3) <= last_ms:
            return at
        if not _are_counts(raw, begin + _COUNTS_AT, begin + header, most, room, room_bytes):
            return at
        if not _are_counts(raw, begin + header + 8 * held, end, most, room, room_bytes):
            return at
    return int(begins.shape[0])


@inlined
def _are_counts(raw: Any, begin: Any, end: Any, most: Any, room: Any, room_bytes: Any) -> Any:
    """Tell whether float32s are all from 0 to `most`: by their bits, which of numbers of 0 or more have their order."""
    largest, lowest = np.float32(most).view(np.int32), np.int32(-(2**31))
    for at in range(begin, end, 4 * room.shape[0]):
        here = min(end - at, 4 * room.shape[0])
        _copy(raw[at : at + here], room_bytes)
        wrong = 0
        for one in range(here // 4):  # the sign alone is a zero, too
            wrong += (room[one] > largest) | ((room[one] < 0) & (room[one] != lowest))
        if wrong:
            return False
    return True


@kernel(
    *(reads("u1"), reads("i8"), reads("i8"), reads("u8"), reads("i4"), "i8", "i8", "f8", "f8", "f8"),
    *(writes("u8"), writes("u1", 2), writes("u2", 2), writes("f8"), writes("f8")),
    *(writes("i8"), writes("f4", 2), writes("f4", 2), writes("f8")),
    *(writes("f4", 3), writes("f4"), writes("u1")),
)
def write_trends(
    raw: Bytes,
    begins: Places,
    ends: Places,
    row_keys: Keys,
    rows: Rows,
    popularity: int,
    recent: int,
    half_life_ms: float,
    recent_half_life_ms: float,
    backward: float,
    keys: Keys,
    neighbours: Bytes,
    shares: NDArray[np.uint16],
    heat: Float64s,
    recent_heat: Float64s,
    as_of_ms: Places,
    counts: Float32s,
    origins: Float32s,
    sums: Float64s,
    room: Float32s,
    room_flat: Float32s,
    room_bytes: Bytes,
) -> None:
    """Write encoded trends that were looked at, of items `row_keys` (n,), into rows (n,) of `TrendColumns`; -1 is left
    out.

    `popularity` and `recent` say which of the counts these are. `neighbours` are the bytes of their keys. `sums` (2,)
    are the transitions of all items, and how many items were ever clicked. `room` (3, k, 4), for the k neighbours
    that are kept, is given as its floats and as its bytes, too.
    """
    header = _COUNTS_AT + 4 * (counts.shape[1] + origins.shape[1])
    for at in range(rows.shape[0]):
        row, begin = rows[at], begins[at]
        if row < 0:
            continue
        _weigh(origins, row, -1.0, sums)
        keys[row] = row_keys[at]
        if ends[at] == begin:
            shares[row] = np.uint16(0)
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
        held = _held(raw, begin)
        kept, weights = min(held, room.shape[1]), begin + header + 8 * held
        _copy(raw[begin + header : begin + header + 8 * kept], neighbours[row])
        _copy(raw[weights : weights + 12 * kept], room_bytes)
        _write_shares(room, room_flat, kept, clicks, np.float32(backward), shares[row])
        _weigh(origins, row, 1.0, sums)


@inlined
def _copy(part: Any, into: Any) -> None:
    """Write all of an array of bytes. Parts that begin at 0 are what the compiler makes one instruction of many for: of
    any other place it does not know that it is not counted from the end.
    """
    for at in range(part.shape[0]):
        into[at] = part[at]


@inlined
def _write_shares(room: Any, room_flat: Any, kept: Any, clicks: Any, backward: Any, shares: Any) -> None:
    """Write each kind of weight of the first neighbours over the clicks of its pace; 0 behind them. The largest of
    numbers of 0 or more is that of the largest bits.

    `room` (3, k, 4) holds the weights, and gets what is divided, and by what: loops over all of it at once are what the
    compiler makes one instruction of many for.
    """
    weights, over = room[1], room[2]
    slow = np.float32(max(clicks[0], _LEAST_CLICKS)).view(np.int32)
    lately = np.float32(max(clicks[1], _LEAST_CLICKS)).view(np.int32)
    for pair in range(kept):
        weights[pair, 0] = room_flat[3 * pair] + backward * room_flat[3 * pair + 1]
        weights[pair, 1] = room_flat[3 * pair]
        weights[pair, 2] = room_flat[3 * pair + 1]
        weights[pair, 3] = room_flat[3 * pair + 2]
    for pair in range(kept):
        slow = np.int32(
            max(slow, np.float32(weights[pair, 0]).view(np.int32), np.float32(weights[pair, 2]).view(np.int32))
        )
        lately = np.int32(max(lately, np.float32(weights[pair, 3]).view(np.int32)))
    for pair in range(kept):
        over[pair, 0] = over[pair, 1] = over[pair, 2] = np.int32(slow).view(np.float32)
        over[pair, 3] = np.int32(lately).view(np.float32)
    size = 4 * room.shape[1]
    divided, divisors = room_flat[size : 2 * size], room_flat[2 * size :]
    for one in range(4 * kept):
        shares[one] = half_bits(divided[one] / divisors[one])
    for one in range(4 * kept, len(shares)):
        shares[one] = np.uint16(0)


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
