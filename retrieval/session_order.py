"""Transition scores: which items ended sessions clicked right before and after the visitor's newest item.

Sequential session-based nearest neighbours (Ludewig and Jannach, "Evaluation of session-based recommendation
algorithms", UMUAI 2018). An item clicked right after the visitor's newest item says more than one from anywhere in the
same session, and more again if the session had clicked the visitor's earlier items before. Arrays in, arrays out.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes

Float32s = NDArray[np.float32]
Numbers = NDArray[np.int32]

TRANSITION_SCORES: Final = 5
"""How many scores `transition_scores` writes for a candidate."""
_SMOOTHING: Final = 3.0
"""Pseudo-clicks added to the denominator of a share, because a share of few clicks says little."""
_ALIKE_SMOOTHING: Final = 1.0
"""The same for clicks of sessions like the visitor's own: they are fewer and say more."""
FADE: Final = 0.85
"""What an item clicked before another one counts, beside it, when sessions vote."""
_ALIKE_BY: Final = 5
"""Of the visitor's distinct items beside the newest, how many say which sessions are alike."""


@kernel(
    *(reads("i4", 2), reads("i4"), reads("i8"), reads("i4"), "i8"),
    *(reads("i4", 2), reads("i4"), reads("i4"), reads("i8")),
    *(writes("i4"), writes("f4"), writes("f8", 2), writes("f4", 2)),
)
def transition_scores(
    clicks: Numbers,
    holders: Numbers,
    begins: NDArray[np.int64],
    counts: Numbers,
    newest: int,
    asked: Numbers,
    before: Numbers,
    numbers: Numbers,
    starts: NDArray[np.intp],
    place: Numbers,
    weight: Float32s,
    sums: NDArray[np.float64],
    out: Float32s,
) -> None:
    """Write (5, c) scores of the candidates of b requests, which begin at `starts` (b + 1,). Let t be the number of
    clicks on the first item `asked` by a request, in the `newest` sessions that hold it.

    0. Share of the t clicks that were followed by the candidate at once, smoothed.
    1. Share of them that came right after the candidate, smoothed.
    2. As 0, each click weighed by how alike its session was up to then.
    3. As 0, only of the clicks that came right after `before`, the visitor's click before the item (-1: none).
    4. Log of the weights of 2 over the distance, for the candidate anywhere after the click.

    `clicks` (rows, k) are as in `SessionColumns`, `holders`, `begins` and `counts` as in `SessionHolders`. `asked`
    (b, m) has the visitor's distinct items, newest first, -1 for none; `numbers` (c,) the candidates' items, -1 for one
    that no session held. By item, `place` is -1 and `weight` 0, before and after. `sums` (5, c) are 0.
    """
    for at in range(asked.shape[0]):
        begin, end, item = starts[at], starts[at + 1], asked[at, 0]
        if item < 0 or begin == end:
            continue
        for i in range(begin, end):
            if numbers[i] >= 0:
                place[numbers[i]] = i
        _set_weights(weight, asked[at], True)
        last = begins[item] + counts[item]
        sessions = holders[last - min(newest, counts[item]) : last]
        total, same_way, alike = _count(clicks, sessions, item, before[at], place, weight, sums)
        _set_weights(weight, asked[at], False)
        for i in range(begin, end):
            out[0, i] = sums[0, i] / (total + _SMOOTHING)
            out[1, i] = sums[1, i] / (total + _SMOOTHING)
            out[2, i] = sums[2, i] / (alike + _ALIKE_SMOOTHING)
            out[3, i] = sums[3, i] / (same_way + _ALIKE_SMOOTHING)
            out[4, i] = np.log1p(sums[4, i])
            if numbers[i] >= 0:
                place[numbers[i]] = -1


@inlined
def _set_weights(weight: Any, asked: Any, to_weights: bool) -> None:
    """Set what the items beside the newest say of which sessions are alike, or set it back to 0."""
    for at in range(1, min(asked.shape[0], 1 + _ALIKE_BY)):
        if asked[at] >= 0:
            weight[asked[at]] = np.float32(FADE) ** np.float32(at) if to_weights else np.float32(0)


@inlined
def _count(clicks: Any, sessions: Any, item: int, before: int, place: Any, weight: Any, sums: Any) -> Any:
    """Sum up what the sessions say of the candidates; return clicks on the item, those after `before`, and weights."""
    total, same_way, weights = 0, 0, 0.0
    for session in sessions:
        alike: Any = np.float32(0)
        for at in range(clicks.shape[1]):
            number = item_of(clicks[session, at])
            if number < 0:
                break
            if clicks[session, at] >= 0:
                alike += weight[number]
            if number == item:
                earlier = item_of(clicks[session, at - 1]) if at > 0 else -1
                same = before >= 0 and earlier == before
                total, same_way, weights = total + 1, same_way + same, weights + alike
                if earlier >= 0 and place[earlier] >= 0:
                    sums[1, place[earlier]] += 1
                _count_after(clicks[session], at, same, alike, place, sums)
    return total, same_way, weights


@inlined
def _count_after(clicks: Any, at: int, same: bool, alike: float, place: Any, sums: Any) -> None:
    """Sum up what one click on the item says, from what its session clicked later."""
    for later in range(at + 1, clicks.shape[0]):
        number = item_of(clicks[later])
        if number < 0 or (alike == 0 and later > at + 1):
            break
        to = place[number]
        if to < 0:
            continue
        if later == at + 1:
            sums[0, to] += 1
            sums[2, to] += alike
            sums[3, to] += same
        sums[4, to] += alike / np.float64(later - at)


@inlined
def item_of(click: int) -> Any:
    """Return the item of a click, -1 for none: see `SessionColumns`."""
    return click if click >= -1 else -2 - click
