"""Transition scores: which items ended sessions clicked right before and after the visitor's newest item.

Sequential session-based nearest neighbours (Ludewig and Jannach, "Evaluation of session-based recommendation
algorithms", UMUAI 2018). An item clicked right after the visitor's newest item says more than one from anywhere in the
same session, and more again if the session had clicked the visitor's earlier items before. Pure: arrays in, arrays out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Numbers = NDArray[np.int32]

TRANSITION_SCORES: Final = 5
"""How many scores `transition_scores` writes for a candidate."""
_SMOOTHING: Final = 3.0
"""Pseudo-clicks added to the denominator of a share, because a share of few clicks says little."""
_ALIKE_SMOOTHING: Final = 1.0
"""The same for clicks of sessions like the visitor's own: they are fewer and say more."""


@dataclass(frozen=True, slots=True)
class SessionClicks:
    """The clicks of n sessions that hold an item, at most k of each."""

    numbers: Numbers
    """(n, k + 1) numbers of items, oldest first, -1 for no item; the last column is -1."""
    alike: Float32s
    """(n, k) weight of the visitor's other items that the session had clicked up to this click."""


def transition_scores(out: Float32s, clicks: SessionClicks, item: int, before: int, place: Numbers) -> None:
    """Write (5, c) transition scores of c candidates. Let t be the number of clicks on `item` in the sessions.

    0. Share of the t clicks that were followed by the candidate at once, smoothed.
    1. Share of them that came right after the candidate, smoothed.
    2. As 0, each click weighed by how alike its session was up to then.
    3. As 0, only of the clicks that came right after `before`, the visitor's click before `item` (-1: none).
    4. Log of the weights of 2 over the distance, for the candidate anywhere after the click.

    `place` maps the number of an item to its place among the candidates, -1 if it is not one of them. -1 means "no
    item" as a number too: it reads the last entry of `place`, which is -1.
    """
    c, k = out.shape[1], clicks.numbers.shape[1] - 1
    numbers = clicks.numbers.ravel()  # between two sessions there is no item, nor before the first: it wraps around
    at = np.flatnonzero(numbers == item)  # (t,)
    after, earlier = numbers[at + 1], numbers[at - 1]
    right_after = place[after]
    out[0] = _counted(right_after, c) / (len(at) + _SMOOTHING)
    out[1] = _counted(place[earlier], c) / (len(at) + _SMOOTHING)
    out[2:] = 0
    if before >= 0:
        same_way = right_after[earlier == before]
        out[3] = _counted(same_way, c) / (len(same_way) + _ALIKE_SMOOTHING)
    session = at // (k + 1)
    alike = clicks.alike.ravel()[at - session]
    some = np.flatnonzero(alike)
    if len(some):
        at, session, alike = at[some], session[some], alike[some]
        out[2] = _counted(right_after[some], c, alike) / (float(alike.sum(dtype=np.float64)) + _ALIKE_SMOOTHING)
        distance = np.arange(1, k)  # (k - 1,)
        later = np.minimum(at[:, None] + distance, (session * (k + 1) + k)[:, None])
        out[4] = np.log1p(_counted(place[numbers[later]], c, alike[:, None] / distance))


def _counted(places: Numbers, c: int, weights: NDArray[np.floating] | None = None) -> NDArray[Any]:
    """Return how often, or with what weight, each of c places occurs, (c,)."""
    by_place = None if weights is None else weights.ravel()
    counts: NDArray[Any] = np.bincount(places.ravel() + 1, by_place, minlength=c + 1)[1:]
    return counts
