"""What ended sessions clicked around an item, in the order in which they clicked.

Sequential session-based nearest neighbours (Ludewig and Jannach, "Evaluation of session-based recommendation
algorithms", UMUAI 2018): what came right after the visitor's newest item says more than what was merely in the same
session, and says more still where the session had come the visitor's own way. Pure: arrays in, arrays out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Numbers = NDArray[np.int32]

FOLLOWED: Final = 5
"""How many numbers `follow` writes of a candidate."""
_UNDECIDED: Final = 3.0
"""Clicks that went nowhere known, added to those that a share is taken of: of few clicks a share says little."""
_UNSEEN: Final = 1.0
"""The same for clicks of sessions that had come the visitor's way, which are fewer and say more."""


@dataclass(frozen=True, slots=True)
class Clicks:
    """The clicks of n sessions that hold an item, at most k of each."""

    numbers: Numbers
    """(n, k + 1) items, oldest first, -1 for none; the last column is none."""
    alike: Float32s
    """(n, k) how much of the visitor's other items a session had held by then."""


def follow(out: Float32s, clicks: Clicks, item: int, before: int, place: Numbers) -> None:
    """Write (5, c) what the sessions say of c candidates around every click on `item`, of which there are t:

    the share of t, smoothed, that had the candidate right after; the same right before; the share of those right after,
    each click weighed by how alike its session was by then; the share right after where right before came `before`, the
    visitor's own click before (-1: none); and the log of those weights over the distance, anywhere after.

    `place` has by number of an item its place among the candidates, -1 for none of them; its last entry is -1, which is
    what the number -1, of no item, reads.
    """
    c, k = out.shape[1], clicks.numbers.shape[1] - 1
    numbers = clicks.numbers.ravel()  # between two sessions there is no item, nor before the first: it wraps around
    at = np.flatnonzero(numbers == item)  # (t,)
    after, earlier = numbers[at + 1], numbers[at - 1]
    right_after = place[after]
    out[0] = _counted(right_after, c) / (len(at) + _UNDECIDED)
    out[1] = _counted(place[earlier], c) / (len(at) + _UNDECIDED)
    out[2:] = 0
    if before >= 0:
        same_way = right_after[earlier == before]
        out[3] = _counted(same_way, c) / (len(same_way) + _UNSEEN)
    session = at // (k + 1)
    alike = clicks.alike.ravel()[at - session]
    some = np.flatnonzero(alike)
    if len(some):
        at, session, alike = at[some], session[some], alike[some]
        out[2] = _counted(right_after[some], c, alike) / (float(alike.sum(dtype=np.float64)) + _UNSEEN)
        distance = np.arange(1, k)  # (k - 1,)
        later = np.minimum(at[:, None] + distance, (session * (k + 1) + k)[:, None])
        out[4] = np.log1p(_counted(place[numbers[later]], c, alike[:, None] / distance))


def _counted(places: Numbers, c: int, weights: NDArray[np.floating] | None = None) -> NDArray[Any]:
    """Return how often, or with what weight, each of c places occurs, (c,)."""
    by_place = None if weights is None else weights.ravel()
    counts: NDArray[Any] = np.bincount(places.ravel() + 1, by_place, minlength=c + 1)[1:]
    return counts
