"""Which candidates make a page, in which order: diversity, limits, shares, exploration.

Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) over item vectors: each place goes to the candidate
with the most of (1 - d) times its value less d times its similarity to the most similar item before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from compiled.products import dot
from retrieval.catalogue import NO_CODE
from retrieval.key_rows import Rows

Float64s = NDArray[np.float64]
Float32s = NDArray[np.float32]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]

NONE: Final = -1


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a page of one request should be."""

    limit: int
    diversity: float
    codes: Codes
    """(f, n) of n candidates, in the fields that are limited; NO_CODE: none."""
    mosts: NDArray[np.int64]
    """(f,) items of a page that may be alike in each."""
    classes: NDArray[np.bool_]
    """(s, n) candidates that a share of the page is for."""
    shares: Float64s
    """(s,) of the page."""
    drawn: Float64s
    """(limit, 2) numbers from 0 to 1: whether a place is explored, and which candidate gets it."""
    explore: float
    fixed: int = 0
    """The first candidates that are on the page whatever the others are: they count in limits, shares and diversity."""


def choose(
    values: Float64s, rows: Rows, vectors: Float32s, has_vector: Mask, wanted: Wanted
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places among the n candidates of a page's items, the fixed ones first and then in order; and of those
    that a limit held back from it, best first.

    `values` (n,) fall behind the fixed ones, of candidates in these catalogue rows (n,); `vectors` are the catalogue's,
    of unit length.
    """
    chosen, held = np.empty(wanted.limit, np.int64), np.empty(len(values), np.int64)
    counts = np.zeros(2, np.int64)
    top = float(values[wanted.fixed]) if len(values) > wanted.fixed else 0.0
    _choose(
        values / top if top > 0 else values,
        rows,
        vectors,
        has_vector,
        wanted.codes,
        wanted.mosts,
        wanted.classes,
        wanted.shares,
        wanted.drawn,
        wanted.explore,
        wanted.diversity,
        wanted.fixed,
        chosen,
        held,
        counts,
    )
    return chosen[: counts[0]], held[: counts[1]]


@inlined
def _due(shares: Float64s, served: NDArray[np.int64], filled: int) -> int:
    """Return the first share of the page that lacks an item at the next place, else NONE."""
    for share in range(len(shares)):
        if served[share] < np.floor(shares[share] * (filled + 1) + 1e-9):
            return share
    return NONE


@inlined
def _nth_open(taken: Mask, blocked: Mask, fixed: int, wanted: int) -> int:
    """Return the candidate that comes behind so many others that are neither taken nor blocked, else NONE."""
    seen = 0
    for at in range(fixed, len(taken)):
        if not (taken[at] or blocked[at]):
            if seen == wanted:
                return at
            seen += 1
    return NONE


@inlined
def _block(codes: Codes, mosts: NDArray[np.int64], chosen: NDArray[np.int64], filled: int, blocked: Mask) -> None:
    """Block candidates that are like the item chosen last in a field of which there are enough by now."""
    for field in range(len(mosts)):
        code = codes[field, chosen[filled - 1]]
        if code == NO_CODE:
            continue
        alike = 0
        for other in range(filled):
            alike += codes[field, chosen[other]] == code
        if alike >= mosts[field]:
            for at in range(codes.shape[1]):
                if codes[field, at] == code:
                    blocked[at] = True


@kernel(
    *(
        reads("f8"),
        reads("i4"),
        reads("f4", 2),
        reads("b1"),
        reads("i4", 2),
        reads("i8"),
        reads("b1", 2),
        reads("f8"),
        reads("f8", 2),
    ),
    *("f8", "f8", "i8", writes("i8"), writes("i8"), writes("i8")),
)
def _choose(
    values: Float64s,
    rows: Rows,
    vectors: Float32s,
    has_vector: Mask,
    codes: Codes,
    mosts: NDArray[np.int64],
    classes: NDArray[np.bool_],
    shares: Float64s,
    drawn: Float64s,
    explore: float,
    diversity: float,
    fixed: int,
    chosen: NDArray[np.int64],
    held: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Write chosen places, those held back by a limit alone, and how many of both there are, (2,)."""
    n = len(values)
    taken, blocked = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    nearest = np.zeros(n, np.float64)  # similarity to the most similar of the first `compared` items that were chosen
    compared = np.zeros(n, np.int64)  # only what may be the best is compared with all of them
    filled, served = 0, np.zeros(len(shares), np.int64)
    while filled < len(chosen):
        explores = filled >= fixed and drawn[filled, 0] < explore
        due = _due(shares, served, filled)
        best, best_due, best_value, best_due_value, open_ones = -1, -1, -np.inf, -np.inf, 0
        for at in range(fixed, n):
            if taken[at] or blocked[at]:
                continue
            open_ones += 1
            serves = due >= 0 and classes[due, at]
            worth = (1 - diversity) * values[at] - diversity * nearest[at]  # at most: similarity only grows
            if worth <= best_value and not (serves and worth > best_due_value):
                continue
            if diversity > 0 and has_vector[rows[at]]:
                for other in range(compared[at], filled):
                    row = rows[chosen[other]]
                    if has_vector[row]:
                        nearest[at] = max(nearest[at], float(dot(vectors, rows[at], vectors[row])))
                compared[at] = filled
                worth = (1 - diversity) * values[at] - diversity * nearest[at]
            if worth > best_value:
                best, best_value = at, worth
            if serves and worth > best_due_value:
                best_due, best_due_value = at, worth
        if filled < fixed:
            best, best_due = filled, -1
        if best < 0:
            break
        if explores:
            best = _nth_open(taken, blocked, fixed, min(int(drawn[filled, 1] * open_ones), open_ones - 1))
        elif best_due >= 0:
            best = best_due
        taken[best] = True
        chosen[filled] = best
        filled += 1
        for share in range(len(shares)):
            served[share] += classes[share, best]
        _block(codes, mosts, chosen, filled, blocked)
    many = 0
    for at in range(fixed, n):
        if blocked[at] and not taken[at]:
            held[many] = at
            many += 1
    counts[0], counts[1] = filled, many
