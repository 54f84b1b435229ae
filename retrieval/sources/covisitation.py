"""Co-visitation: what is viewed together with a session's last clicks, over all and lately, and what each of these
clicks says about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from compiled.decay import cooled
from compiled.kernels import inlined, kernel, reads, writes
from compiled.lookups import half, row_of
from contracts.settings import Group
from retrieval.key_rows import Keys, Rows
from retrieval.sources.source import Batch, Float32s, Found, Mask, Rung, Source, numbers_of
from retrieval.trend_columns import AFTER, BOTH, PAIR_SHARES, RECENT


class Sizes(Group):
    covisit_clicks: int = Field(
        default=4, ge=0, le=50, description="Last clicks whose co-visited items are candidates."
    )
    covisit: int = Field(default=20, ge=0, le=50, description="Co-visited items of each of those clicks.")
    covisit_recent: int = Field(
        default=20, ge=0, le=50, description="Items co-visited lately, of each of those clicks."
    )


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """NaN: no suggestion of that kind."""

    covisit_from: NDArray[np.int8]
    """(c,) window entry that suggests it most, -1 for none."""
    covisit_last: Float32s
    """(c,) share of the newest item's clicks that this item goes with."""
    covisit_last_rank: Float32s
    """(c,) place among the newest item's neighbours, 0 first."""
    covisit: Float32s
    """(c,) shares over the last clicks, the j-th (from 1, newest first) divided by j. 0 if none."""
    covisit_count: Float32s
    """(c,) how many of the last clicks suggest it."""
    after_last: Float32s
    """(c,) as `covisit_last`, of what was clicked after it alone."""
    after: Float32s
    """(c,) as `covisit`, of what was clicked after them alone."""
    together_last: Float32s
    """(c,) as `covisit_last`, of recent clicks."""
    together_last_rank: Float32s
    """(c,) as `covisit_last_rank`, of recent clicks."""
    together: Float32s
    """(c,) as `covisit`, of recent clicks."""
    covisit_second: Float32s
    """(c,) as `covisit_last`, of the newest item but one."""
    paired_last: Float32s
    """(c,) `covisit_last` times the root of the newest item's clicks."""
    paired: Float32s
    """(c,) shares over the last clicks, each times the root of its item's clicks. 0 if none."""


class Suggested(Found, frozen=True):
    """What the last clicks of b requests suggest: t entries, one for each neighbour of each click, grouped by request
    and by click, newest first. An item that two clicks suggest has two of them. Brought is what is near enough to the
    top, of either order.
    """

    click: NDArray[np.int8]
    """(t,) which click, 0 the newest."""
    shares: Float32s
    """(t, 4) see `TrendColumns.neighbours_at`."""
    often: Float32s
    """(t,) root of the decayed clicks on the click's item."""
    rank: Float32s
    """(t,) place among the click's neighbours, 0 first."""
    recent_rank: Float32s
    """(t,) the same by what goes together lately; NaN where nothing does."""


NO_SUGGESTIONS = Suggested(
    request=np.zeros(0, np.int32),
    rows=np.zeros(0, np.int32),
    brought=np.zeros(0, np.bool_),
    click=np.zeros(0, np.int8),
    shares=np.zeros((0, PAIR_SHARES), np.float32),
    often=np.zeros(0, np.float32),
    rank=np.zeros(0, np.float32),
    recent_rank=np.zeros(0, np.float32),
)


def bring(batch: Batch, sizes: Sizes) -> Suggested:
    """Return what the last `covisit_clicks` of every window suggest at its request's moment.

    The `covisit` first neighbours of a click are brought, and those that are among the `covisit_recent` first lately.
    A click on an item that a newer click was on brings nothing.
    """
    contexts, catalogue, trends = batch.contexts, batch.state.catalogue, batch.state.trends
    clicks = min(sizes.covisit_clicks, contexts.keys.shape[1])
    if not clicks or not (sizes.covisit or sizes.covisit_recent) or not len(trends) or not catalogue.count:
        return NO_SUGGESTIONS
    neighbours, shares = trends.pairs
    room = len(contexts) * clicks * neighbours.shape[1]
    request, rows = np.empty(room, np.int32), np.empty(room, np.int32)
    brought, click = np.empty(room, np.bool_), np.empty(room, np.int8)
    by_entry = np.empty((3, room), np.float32)
    numbers = np.empty((room, PAIR_SHARES), np.float32), by_entry[0], by_entry[1], by_entry[2]
    shape = len(contexts), clicks
    clicked, often = np.empty(shape, np.int32), np.empty(shape, np.float32)
    heat = trends.heat, trends.rules.half_life_ms
    _clicked(*trends.slots, *heat, contexts.keys, contexts.lengths, contexts.now_ms, clicked, often)
    most = sizes.covisit, sizes.covisit_recent
    table = (neighbours, shares, *catalogue.slots, catalogue.alive)
    n = _suggest(clicked, often, *table, *most, request, rows, brought, click, *numbers)
    return Suggested(request[:n], rows[:n], brought[:n], click[:n], *(column[:n] for column in numbers))


@kernel(
    *(reads("u8"), reads("i4"), reads("f8"), "f8", reads("u8", 2), reads("i4"), reads("i8")),
    *(writes("i4", 2), writes("f4", 2)),
)
def _clicked(
    slot_keys: Keys,
    slot_rows: Rows,
    heat: NDArray[np.float64],
    half_life_ms: float,
    keys: Keys,
    lengths: NDArray[np.int32],
    now_ms: NDArray[np.int64],
    clicked: Rows,
    often: Float32s,
) -> None:
    """Write the trend rows of the newest clicks, -1 beyond the window's end and where a newer click is on the item, and
    the root of the decayed clicks on each.
    """
    for request in range(clicked.shape[0]):
        for at in range(clicked.shape[1]):
            key, used = keys[request, at], at < lengths[request]
            for newer in range(at):
                used = used and keys[request, newer] != key
            row = row_of(slot_keys, slot_rows, key) if used else -1
            clicked[request, at] = row
            often[request, at] = np.sqrt(cooled(heat[row], now_ms[request], half_life_ms)) if row >= 0 else 0


@kernel(
    *(reads("i4", 2), reads("f4", 2)),
    *(reads("u8", 2), reads("u2", 3), reads("u8"), reads("i4"), reads("?")),
    *("i8", "i8"),
    *(writes("i4"), writes("i4"), writes("?"), writes("i1")),
    *(writes("f4", 2), writes("f4"), writes("f4"), writes("f4")),
)
def _suggest(
    clicked: Rows,
    clicked_often: Float32s,
    neighbours: Keys,
    bits: NDArray[np.uint16],
    slot_keys: Keys,
    slot_rows: Rows,
    alive: Mask,
    most: int,
    most_recent: int,
    request: Rows,
    rows: Rows,
    brought: Mask,
    click: NDArray[np.int8],
    shares: Float32s,
    often: Float32s,
    rank: Float32s,
    recent_rank: Float32s,
) -> int:
    """Write the fields of `Suggested`; return how many entries there are."""
    n = 0
    for asked in range(clicked.shape[0]):
        for at in range(clicked.shape[1]):
            item = clicked[asked, at]
            if item < 0:
                continue
            for place in range(neighbours.shape[1]):
                if bits[item, place, BOTH] == 0:
                    continue
                row = row_of(slot_keys, slot_rows, neighbours[item, place])
                if row < 0 or not alive[row]:
                    continue
                request[n], rows[n], click[n] = asked, row, at
                for kind in range(PAIR_SHARES):
                    shares[n, kind] = half(bits[item, place, kind])
                often[n] = clicked_often[asked, at]
                rank[n] = place
                recent_rank[n] = _recent_place(bits[item], place)
                brought[n] = place < most or recent_rank[n] < most_recent
                n += 1
    return n


@inlined
def _recent_place(bits: Any, place: int) -> Any:
    """Return the place of a neighbour by its recent share, largest first; NaN for a share of 0."""
    mine = bits[place, RECENT]
    if mine == 0:
        return np.float32(np.nan)
    before = 0
    for other in range(bits.shape[0]):  # float16s of 0 or more are ordered as their bits are
        if bits[other, RECENT] > mine or (bits[other, RECENT] == mine and other < place):
            before += 1
    return np.float32(before)


_COLUMNS: Final = (
    "covisit_last",
    "covisit_last_rank",
    "after_last",
    "together_last",
    "together_last_rank",
    "covisit_second",
    "paired_last",
    "covisit",
    "covisit_count",
    "after",
    "together",
    "paired",
)
"""What `_lay_out` writes, in this order. Those from `covisit` on are sums over the clicks."""
_SUMMED: Final = _COLUMNS.index("covisit")


def lay_out(found: Suggested, place: NDArray[np.intp], n: int) -> Numbers:
    origin, columns = np.empty(n, np.int8), np.empty((len(_COLUMNS), n), np.float32)
    entries = (found.click, found.shares, found.often, found.rank, found.recent_rank)
    _lay_out(place, *entries, np.empty(n, np.float32), np.empty((len(_COLUMNS) - _SUMMED, n)), origin, columns)
    return numbers_of(Numbers, {"covisit_from": origin, **dict(zip(_COLUMNS, columns, strict=True))})


@kernel(
    *(reads("i8"), reads("i1"), reads("f4", 2), reads("f4"), reads("f4"), reads("f4")),
    *(writes("f4"), writes("f8", 2), writes("i1"), writes("f4", 2)),
)
def _lay_out(
    places: NDArray[np.intp],
    clicks: NDArray[np.int8],
    shares: Float32s,
    often: Float32s,
    rank: Float32s,
    recent_rank: Float32s,
    most: Float32s,
    sums: NDArray[np.float64],
    origin: NDArray[np.int8],
    columns: Float32s,
) -> None:
    """Write `origin` (n,) and `columns` (12, n); `most` (n,) and `sums` (5, n) are room to work in."""
    columns[:_SUMMED], origin[:], most[:], sums[:] = np.nan, -1, 0, 0
    for entry in range(places.shape[0]):
        at, click = places[entry], clicks[entry]
        if at < 0:
            continue
        both, after, recent = shares[entry, BOTH], shares[entry, AFTER], shares[entry, RECENT]
        nearer = np.float32(click + 1)
        if both / nearer > most[at]:  # of several the newest, which comes first
            most[at], origin[at] = both / nearer, click
        sums[0, at] += both / nearer
        sums[1, at] += 1.0
        sums[2, at] += after / nearer
        sums[3, at] += recent / nearer
        sums[4, at] += both * often[entry]
        if click == 0:
            columns[0, at], columns[1, at] = both, rank[entry]
            columns[2, at], columns[3, at], columns[4, at] = after, recent, recent_rank[entry]
            columns[6, at] = both * often[entry]
        elif click == 1:
            columns[5, at] = both
    for kind in range(sums.shape[0]):
        for at in range(sums.shape[1]):
            columns[_SUMMED + kind, at] = sums[kind, at]


def knows(numbers: Numbers) -> Mask:
    return numbers.covisit > 0


SOURCE = Source(
    name="covisit",
    brings="items viewed together with the last clicks, over all and lately",
    settings=("covisit_clicks", "covisit", "covisit_recent"),
    rung=Rung.CO_VISITATION,
    numbers=Numbers,
    bring=bring,
    nothing=NO_SUGGESTIONS,
    lay_out=lay_out,
    knows=knows,
    parts=("covisit_recent",),
)
