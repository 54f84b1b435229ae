"""The kernels of `retrieval.trend_counts`, which says what the arrays are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from contracts.codec import TREND_COUNTS
from retrieval.trend_updates import AFTER, UPDATE, VISITOR_SHIFT, Updates

Keys = NDArray[np.uint64]
Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]
Float32s = NDArray[np.float32]
Bools = NDArray[np.bool_]

_RECENT: Final = TREND_COUNTS.index("recent")
_LEAST_ROOM: Final = 8
_LATEST_MINUTE: Final = 2**32 - 1
_RESCALE_AT: Final = 64.0
"""Recent half-lives after the landmark at which sums are scaled back, far from the end of a float."""


@inlined
def _weight(difference_ms: Any, half_life_ms: Any) -> Any:
    return np.exp2(max(-1000.0, difference_ms / half_life_ms))


@inlined
def _find(keys: Any, begin: Any, count: Any, wanted: Any) -> Any:
    """Return where a key stands in keys[begin : begin + count], -1 if it does not."""
    for at in range(begin, begin + count):
        if keys[at] == wanted:
            return at
    return -1


@inlined
def _order(keys: Any, begin: Any, strengths: Any, order: Any, count: Any) -> None:
    """Order positions 0 ... count - 1 of a block by strength, the strongest first, equal ones by key (Shell's sort)."""
    for at in range(count):
        order[at] = at
    for gap in (132, 57, 23, 10, 4, 1):
        for at in range(gap, count):
            one, to = order[at], at
            while to >= gap:
                other = order[to - gap]
                if strengths[other] > strengths[one] or (
                    strengths[other] == strengths[one] and keys[begin + other] <= keys[begin + one]
                ):
                    break
                order[to] = other
                to -= gap
            order[to] = one


@inlined
def _strongest(
    keys: Any, sums: Any, begin: Any, count: Any, wanted: Any, recent: Any, backward: Any, work: Any, order: Any
) -> Any:
    """Write the positions of a block's strongest pairs to order[0], strongest first, and return how many: the `recent`
    strongest lately, and of all others the strongest, up to `wanted`.
    """
    for at in range(count):
        work[at] = sums[begin + at, 0] + backward * sums[begin + at, 1]
    _order(keys, begin, work, order[0], count)
    if count <= wanted:
        return count
    for at in range(count):
        work[at] = sums[begin + at, 2]
    _order(keys, begin, work, order[1], count)
    for at in range(count):
        order[2, order[1, at]] = at < recent
    others, kept = wanted - recent, 0
    for at in range(count):
        place = order[0, at]
        if order[2, place] == 0:
            if others == 0:
                continue
            others -= 1
        order[0, kept] = place
        kept += 1
    return kept


@inlined
def _prune(
    place: Any, keys: Any, sums: Any, kept: Any, recent: Any, backward: Any, work: Any, order: Any, spare: Any
) -> None:
    """Keep an item's strongest pairs alone, strongest first."""
    begin, count = place[0], place[2]
    kept = _strongest(keys, sums, begin, count, kept, recent, backward, work, order)
    spare_keys, spare_sums = keys[begin : begin + count].copy(), spare
    for at in range(count):
        for one in range(3):
            spare_sums[at, one] = sums[begin + at, one]
    for at in range(kept):
        keys[begin + at] = spare_keys[order[0, at]]
        for one in range(3):
            sums[begin + at, one] = spare_sums[order[0, at], one]
    place[2] = kept


@inlined
def _move_landmark(
    row: Any, to_ms: Any, landmark_ms: Any, counts: Any, place: Any, pair_sums: Any, half_life: Any, recent: Any
) -> None:
    slow = _weight(landmark_ms[row] - to_ms, half_life)
    fast = _weight(landmark_ms[row] - to_ms, recent)
    for one in range(counts.shape[1]):
        counts[row, one] *= fast if one == _RECENT else slow
    for at in range(place[0], place[0] + place[2]):
        pair_sums[at, 0] *= slow
        pair_sums[at, 1] *= slow
        pair_sums[at, 2] *= fast
    landmark_ms[row] = to_ms


@inlined
def _with_room(place: Any, keys: Any, sums: Any, pool_end: Any, tracked: Any) -> Any:
    """Give an item's block room for one more pair, at the end of the pool if need be; says whether there was any."""
    if place[2] < place[1]:
        return True
    room = min(max(_LEAST_ROOM, 2 * place[1]), tracked + 1)
    if pool_end[0] + room > keys.shape[0]:
        return False
    for at in range(place[2]):
        keys[pool_end[0] + at] = keys[place[0] + at]
        for one in range(3):
            sums[pool_end[0] + at, one] = sums[place[0] + at, one]
    place[0], place[1] = pool_end[0], room
    pool_end[0] += room
    return True


@inlined
def _count_click(counted: Any, origin: Any, counts: Any, origins: Any, gain: Any, recent_gain: Any) -> None:
    """Add a click to the item's origins, and to those of its counts that have a bit in `counted`. What a group
    clicks has no origin.
    """
    if origin >= 0:
        origins[origin] += 1.0
    for one in range(counts.shape[0]):
        if (counted >> np.uint64(one)) & np.uint64(1):
            counts[one] += recent_gain if one == _RECENT else gain


@inlined
def _visited(visits: Any, visitor: Any, minute: Any, within: Any) -> Any:
    """Note who clicked an item that waits, in `visits` (v,) of v other visitors, each with the minute of a click. Says
    whether this one is the last of enough `within` so many minutes. Of those too far apart the oldest is let go.
    """
    oldest, place, near = np.int64(_LATEST_MINUTE), 0, 0
    for at in range(visits.shape[0]):
        noted = np.int64(visits[at] & np.uint64(_LATEST_MINUTE))
        if noted > 0:
            if np.int64(visits[at] >> np.uint64(32)) == visitor:
                visits[at] = np.uint64(visitor) << np.uint64(32) | np.uint64(max(noted, minute))
                return False
            if abs(noted - minute) <= within:
                near += 1
        if noted < oldest:
            oldest, place = noted, at
    if near == visits.shape[0]:
        return True
    if minute > oldest:
        visits[place] = np.uint64(visitor) << np.uint64(32) | np.uint64(minute)
    return False


@inlined
def _new_pair(place: Any, other: Any, keys: Any, sums: Any) -> Any:
    """Begin a pair in an item's block, which has room; returns where it stands."""
    pair = place[0] + place[2]
    keys[pair] = other
    for one in range(3):
        sums[pair, one] = 0.0
    place[2] += 1
    return pair


@inlined
def _count_pair(kind: Any, weight: Any, sums: Any, gain: Any, recent_gain: Any, backward: Any) -> None:
    if kind == AFTER:
        sums[0] += gain * weight
        sums[2] += recent_gain * weight
    else:
        sums[1] += gain * weight
        sums[2] += recent_gain * weight * backward


@kernel(
    reads(UPDATE),
    reads("i8"),
    "i8",
    writes("i8"),
    writes("i8"),
    writes("f8", 2),
    writes("f8", 2),
    writes("b1"),
    writes("b1"),
    writes("b1"),
    writes("u8", 2),
    writes("i8", 2),
    writes("u8"),
    writes("f8", 2),
    writes("i8"),
    reads("f8"),
    reads("i8"),
    writes("i8"),
    writes("i8"),
)
def apply_updates(
    updates: Updates,
    rows: Int64s,
    begin: int,
    landmark_ms: Int64s,
    last_ms: Int64s,
    counts: Float64s,
    origins: Float64s,
    announced: Bools,
    unwritten: Bools,
    kept: Bools,
    visits: Keys,
    places: Int64s,
    pair_keys: Keys,
    pair_sums: Float64s,
    pool_end: Int64s,
    paces: Float64s,
    limits: Int64s,
    first: Int64s,
    found: Int64s,
) -> int:
    """Count updates from `begin` on; returns where it stopped because the pool has no room, or their number.

    `first` takes the positions of first clicks on items that are `kept`, `found` how many. `visits` (n, visitors - 1)
    notes who clicked those that are not yet: see `_visited`.
    """
    half_life, recent_half_life, backward = paces[0], paces[1], paces[2]
    tracked = limits[2]
    least = max(limits[0], tracked // 2)
    work, order, spare = np.empty(tracked + 1), np.empty((3, tracked + 1), np.int64), np.empty((tracked + 1, 3))
    for at in range(begin, updates.shape[0]):
        row, other, kind, ts_ms = rows[at], updates[at]["other"], updates[at]["kind"], updates[at]["ts_ms"]
        pair = 0
        if kind >= AFTER:
            pair = _find(pair_keys, places[row, 0], places[row, 2], other)
            if pair < 0 and not _with_room(places[row], pair_keys, pair_sums, pool_end, tracked):
                return at
        if last_ms[row] < 0:
            landmark_ms[row] = ts_ms
        last_ms[row] = max(last_ms[row], ts_ms)
        if ts_ms - landmark_ms[row] > _RESCALE_AT * recent_half_life:
            _move_landmark(row, ts_ms, landmark_ms, counts, places[row], pair_sums, half_life, recent_half_life)
        gain = _weight(ts_ms - landmark_ms[row], half_life)
        recent_gain = _weight(ts_ms - landmark_ms[row], recent_half_life)
        unwritten[row] = True
        if kind < AFTER:
            _count_click(other, kind, counts[row], origins[row], gain, recent_gain)
            if not kept[row]:
                kept[row] = _visited(visits[row], np.int64(other >> VISITOR_SHIFT), max(1, ts_ms // 60_000), limits[3])
            if kept[row] and not announced[row]:
                announced[row] = True
                first[found[0]] = at
                found[0] += 1
            continue
        if pair < 0:
            pair = _new_pair(places[row], other, pair_keys, pair_sums)
        _count_pair(kind, updates[at]["weight"], pair_sums[pair], gain, recent_gain, backward)
        if places[row, 2] > tracked:
            recent = min(least, 2 * limits[1])
            _prune(places[row], pair_keys, pair_sums, least, recent, backward, work, order, spare)
    return len(updates)


@kernel(
    reads("i8"),
    "i8",
    reads("i8"),
    reads("i8"),
    reads("f8", 2),
    reads("i8", 2),
    reads("u8"),
    reads("f8", 2),
    reads("f8"),
    reads("i8"),
    writes("i8"),
    writes("f4", 2),
    writes("i8"),
    writes("u8"),
    writes("f4", 2),
)
def read_rows(
    rows: Int64s,
    as_of_ms: int,
    landmark_ms: Int64s,
    last_ms: Int64s,
    counts: Float64s,
    places: Int64s,
    pair_keys: Keys,
    pair_sums: Float64s,
    paces: Float64s,
    limits: Int64s,
    read_ms: Int64s,
    read_counts: Float32s,
    starts: Int64s,
    neighbours: Keys,
    weights: Float32s,
) -> None:
    """Write the counts of rows as they stand at `as_of_ms`, and their strongest pairs."""
    tracked = limits[2]
    work, order = np.empty(tracked + 1), np.empty((3, tracked + 1), np.int64)
    for at in range(rows.shape[0]):
        row = rows[at]
        read_ms[at] = max(as_of_ms, last_ms[row])
        slow = _weight(landmark_ms[row] - read_ms[at], paces[0])
        fast = _weight(landmark_ms[row] - read_ms[at], paces[1])
        for one in range(counts.shape[1]):
            read_counts[at, one] = counts[row, one] * (fast if one == _RECENT else slow)
        begin, end = places[row, 0], starts[at]
        kept = _strongest(pair_keys, pair_sums, begin, places[row, 2], limits[0], limits[1], paces[2], work, order)
        for pair in range(kept):
            place = begin + order[0, pair]
            neighbours[end + pair] = pair_keys[place]
            weights[end + pair, 0] = pair_sums[place, 0] * slow
            weights[end + pair, 1] = pair_sums[place, 1] * slow
            weights[end + pair, 2] = pair_sums[place, 2] * fast
        starts[at + 1] = end + kept


@kernel(writes("i8", 2), reads("u8"), reads("f8", 2), writes("u8"), writes("f8", 2))
def move_pairs(places: Int64s, keys: Keys, sums: Float64s, to_keys: Keys, to_sums: Float64s) -> int:
    """Move every item's block into another pool, one after the other; returns where they end."""
    end = 0
    for row in range(places.shape[0]):
        begin = places[row, 0]
        for at in range(places[row, 2]):
            to_keys[end + at] = keys[begin + at]
            for one in range(3):
                to_sums[end + at, one] = sums[begin + at, one]
        places[row, 0] = end
        end += places[row, 1]
    return end
