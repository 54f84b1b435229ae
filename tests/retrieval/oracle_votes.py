"""The plain numpy twin of `SessionColumns.votes`: what the kernels are held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
FADE = np.float32(0.85)


def votes(
    sessions: Sequence[Sequence[int]], clicked: Sequence[int], candidates: Sequence[int], newest: int
) -> Float32s:
    """Return the fields of `Votes` (8, c) for one window, newest click first, of sessions from the oldest on."""
    found = np.zeros((8, len(candidates)), np.float32)
    holding = {item: [clicks for clicks in sessions if item in clicks] for item in {*clicked, *candidates}}
    asked = [item for item in dict.fromkeys(clicked) if item and holding[item]][:10]
    if not asked:
        return found
    neighbours = [holding[item][-newest:] for item in asked]
    together = np.array([[sum(c in s for s in mine) for c in candidates] for mine in neighbours], np.float32)
    rare = np.log([np.float32(len(sessions)) / len(holding[item]) for item in asked])
    found[0] = (rare * FADE ** np.arange(len(asked), dtype=np.float32)) @ together
    together[np.array(asked)[:, None] == np.array(candidates)] = 0
    sizes = np.array([[len(mine)] for mine in neighbours])
    counts = np.array([max(1, len(holding[c])) for c in candidates])
    cosines = together / np.sqrt(sizes * counts).astype(np.float32)
    found[1], found[2] = cosines[0], cosines.sum(axis=0)
    after = clicked[clicked.index(asked[0]) :]
    before = next((item for item in after if item != asked[0]), 0)
    found[3:] = _transitions(neighbours[0], asked, before, candidates)
    return found


def _transitions(
    sessions: Sequence[Sequence[int]], asked: Sequence[int], before: int, candidates: Sequence[int]
) -> NDArray[Any]:
    weights = {item: FADE ** np.float32(place) for place, item in enumerate(asked[1:6], 1)}
    clicks = [(list(s[:at]), list(s[at + 1 :])) for s in sessions for at, item in enumerate(s) if item == asked[0]]
    alike = np.array([sum(weights.get(item, 0) for item in set(past)) for past, _ in clicks])
    same_way = np.array([bool(before) and past[-1:] == [before] for past, _ in clicks])
    out = np.zeros((5, len(candidates)))
    for place, candidate in enumerate(candidates):
        follows = np.array([future[:1] == [candidate] for _, future in clicks])
        later = [sum(1 / (1 + d) for d, item in enumerate(future) if item == candidate) for _, future in clicks]
        out[:, place] = (
            follows.sum() / (len(clicks) + 3),
            sum(past[-1:] == [candidate] for past, _ in clicks) / (len(clicks) + 3),
            (follows * alike).sum() / (alike.sum() + 1),
            (follows & same_way).sum() / (same_way.sum() + 1),
            np.log1p((alike * later).sum()),
        )
    return out
