"""What an item is worth to the shop: terms with weights, popularity taken off, boosts.

Each term lies between 0 and 1 among the candidates of its request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from contracts.scenarios import Value
from expressions.columns import Frame, Open
from expressions.types import Field, Scope, Type
from rerank.scenarios.compiled import Boosted, Compiled
from rerank.scenarios.seasons import SEASONS, season_at
from retrieval.catalogue import CatalogueColumns
from retrieval.item_fields import ItemFrame
from retrieval.key_rows import Rows
from retrieval.trend_columns import TrendColumns

Float64s = NDArray[np.float64]
Float32s = NDArray[np.float32]

TERMS: Final = tuple(Value.model_fields)
"""In the order of `_value`'s weights."""
FULL_SHELF: Final = 1000.0
"""Pieces of stock from which there is no more to be had of the term."""
FRESH_HALF_LIFE_MS: Final = 30 * 86_400_000.0
_ALSO: Final = {"fall": "autumn"}
_SEASON: Final = Field("attributes.season", Type.ANY, Scope.ITEM, ("attributes", "season"))
_NOTHING: Final = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Columns:
    """What terms are computed from."""

    catalogue: CatalogueColumns
    trends: TrendColumns


@dataclass(frozen=True, slots=True)
class Valued:
    """Values of the n candidates of one request, and what they are made of."""

    values: Float64s
    """(n,) 0 or more."""
    terms: Float64s
    """(t, n) by term, before weights."""
    weights: Float64s
    """(t,)"""
    boosts: Sequence[Boosted]
    """Those that count now."""


def value(compiled: Compiled, frame: Frame, rows: Rows, scores: Float32s, state: Columns, now_ms: int) -> Valued:
    """Return what a scenario makes of the scores (n,) of one request's candidates."""
    catalogue, weights, n = state.catalogue, compiled.weight_array, len(rows)
    debias = compiled.scenario.popularity_debias or 0.0
    popularity = season = _NOTHING
    if weights[_TREND] or debias:
        popularity = state.trends.popularity_at(state.trends.rows_of(catalogue.keys[rows]), now_ms)
    if weights[_SEASONAL]:
        season = catalogue.fields.derived(catalogue, InSeason(season_at(now_ms)))
    active = compiled.boosts_at(now_ms)
    of_items = active.of_items
    factors = _NOTHING if of_items is None else catalogue.fields.derived(catalogue, of_items)
    values, terms = np.empty(n), np.empty((len(TERMS), n))
    _value(
        *(rows, scores, popularity, catalogue.stock, catalogue.margin, catalogue.created_ms, season, factors),
        *(weights, debias, now_ms, values, terms),
    )
    for boosted in active.of_requests:
        values[boosted.condition.keeps(frame)] *= boosted.boost.multiply
    return Valued(values, terms, weights, active.all)


_TREND: Final = TERMS.index("trend")
_SEASONAL: Final = TERMS.index("season")


def reads_season(compiled: Compiled) -> bool:
    """Whether a scenario asks for the season of each item."""
    return compiled.decides_value and bool(compiled.weight_array[_SEASONAL])


@inlined
def _match(score: np.float32, low: float, high: float) -> float:
    if not np.isfinite(score):
        return 0.0
    return 1.0 if high <= low else (float(score) - low) / (high - low)


@kernel(
    *(reads("i4"), reads("f4"), reads("f4"), reads("i4"), reads("f4"), reads("i8"), reads("f4"), reads("f4")),
    *(reads("f8"), "f8", "i8", writes("f8"), writes("f8", 2)),
)
def _value(
    rows: Rows,
    scores: Float32s,
    popularity: Float32s,
    stock: NDArray[np.int32],
    margin: Float32s,
    created_ms: NDArray[np.int64],
    season: Float32s,
    factors: Float32s,
    weights: Float64s,
    debias: float,
    now_ms: int,
    values: Float64s,
    terms: Float64s,
) -> None:
    """Write the value (n,) and terms (6, n) of candidates. `popularity` is (n,), `season` and `factors` are by row of
    the catalogue; each may be empty: 0, 0 and 1 for all.
    """
    low, high, hottest = np.inf, -np.inf, 0.0
    for at in range(len(rows)):
        if np.isfinite(scores[at]):
            low, high = min(low, float(scores[at])), max(high, float(scores[at]))
        if len(popularity):
            hottest = max(hottest, np.log1p(float(popularity[at])))
    least = 0.0
    for at in range(len(rows)):
        row = rows[at]
        terms[0, at] = _match(scores[at], low, high)
        terms[1, at] = np.log1p(float(popularity[at])) / hottest if hottest > 0 else 0.0
        terms[2, at] = min(1.0, np.log1p(float(max(0, stock[row]))) / np.log1p(FULL_SHELF))
        terms[3, at] = min(1.0, max(0.0, float(margin[row]))) if margin[row] == margin[row] else 0.0
        terms[4, at] = 2.0 ** (-max(0.0, float(now_ms - created_ms[row])) / FRESH_HALF_LIFE_MS)
        terms[5, at] = season[row] if len(season) else 0.0
        values[at] = 0.0
        for term in range(len(weights)):
            values[at] += weights[term] * terms[term, at]
        least = min(least, values[at])
    for at in range(len(rows)):
        values[at] -= least  # weights may be negative; a boost is to raise in any case
        values[at] *= 1.0 - debias * terms[1, at]
        if len(factors):
            values[at] *= factors[rows[at]]


@dataclass(frozen=True)
class InSeason:
    """Of each item 1 where it is of a season, 0 of another, a half where it names none (`attributes.season`)."""

    season: str

    def derive(self, frame: ItemFrame) -> Float32s:
        found = frame.column(_SEASON)
        assert isinstance(found, Open)
        worth = np.array([*(_in_season(word, self.season) for word in found.words), 0.5], np.float32)
        of_season: Float32s = worth.take(found.codes, mode="wrap")  # code -1, of items that name none, is the last
        return of_season


def _in_season(word: object, now: str) -> float:
    named = [word] if isinstance(word, str) else word if isinstance(word, tuple) else ()
    seasons = {_ALSO.get(one.lower(), one.lower()) for one in named} & set(SEASONS)
    return 0.5 if not seasons else float(now in seasons)
