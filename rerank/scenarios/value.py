"""What an item is worth to the shop: terms with weights, boosts, and popularity taken off.

Each term lies between 0 and 1 among the candidates of its request. Order: terms, popularity taken off, boosts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.scenarios import Value
from expressions.columns import Frame, Open
from expressions.types import Field, Scope, Type
from rerank.scenarios.compiled import Boosted, Compiled
from retrieval.catalogue import CatalogueColumns
from retrieval.key_rows import Rows
from retrieval.trend_columns import TrendColumns

Float64s = NDArray[np.float64]
Float32s = NDArray[np.float32]

TERMS: Final = tuple(Value.model_fields)
FULL_SHELF: Final = 1000
"""Pieces of stock from which there is no more to be had of the term."""
FRESH_HALF_LIFE_MS: Final = 30 * 86_400_000.0


@dataclass(frozen=True, slots=True)
class Valued:
    """Values of the n candidates of one request, and what they are made of."""

    values: Float64s
    """(n,) 0 or more."""
    terms: dict[str, Float64s]
    """(n,) by term, before weights."""
    boosts: list[tuple[Boosted, NDArray[np.bool_]]] = field(default_factory=list)
    """Boosts that count now, and which candidates they are for, (n,)."""

    def boosts_of(self, at: int) -> list[Boosted]:
        return [boosted for boosted, held in self.boosts if held[at]]


def value(compiled: Compiled, frame: Frame, rows: Rows, scores: Float32s, state: Columns, now_ms: int) -> Valued:
    """Return what a scenario makes of the scores (n,) of one request's candidates."""
    weights = compiled.weights or _MATCH_ALONE
    debias = compiled.scenario.popularity_debias or 0.0
    wanted = [name for name in TERMS if getattr(weights, name) or (name == "trend" and debias)]
    terms = {name: _TERMS[name](rows, scores, state, now_ms) for name in wanted}
    values = np.zeros(len(rows))
    for name, term in terms.items():
        values += getattr(weights, name) * term
    values -= min(0.0, values.min(initial=0.0))  # weights may be negative; a boost is to raise in any case
    if debias:
        values *= 1 - debias * terms["trend"]
    boosts = []
    for boosted in compiled.boosts:
        if boosted.boost.counts_at(now_ms):
            held = boosted.condition.keeps(frame)
            values = np.where(held, values * boosted.boost.multiply, values)
            boosts.append((boosted, held))
    return Valued(values, terms, boosts)


@dataclass(frozen=True, slots=True)
class Columns:
    """What terms are computed from."""

    catalogue: CatalogueColumns
    trends: TrendColumns


_MATCH_ALONE: Final = Value()


def _match(rows: Rows, scores: Float32s, state: Columns, now_ms: int) -> Float64s:
    known = np.nan_to_num(scores.astype(np.float64), nan=-np.inf, neginf=-np.inf, posinf=np.inf)
    finite = known[np.isfinite(known)]
    if not len(finite):
        return np.zeros(len(rows))
    low, high = float(finite.min()), float(finite.max())
    if high == low:
        return np.where(np.isfinite(known), 1.0, 0.0)
    return np.clip((known - low) / (high - low), 0.0, 1.0)


def _trend(rows: Rows, scores: Float32s, state: Columns, now_ms: int) -> Float64s:
    trends = state.trends
    popularity = trends.popularity_at(trends.rows_of(state.catalogue.keys[rows]), now_ms)
    return _of_largest(np.log1p(popularity.astype(np.float64)))


def _stock(rows: Rows, scores: Float32s, state: Columns, now_ms: int) -> Float64s:
    stock = state.catalogue.stock[rows].astype(np.float64)
    share: Float64s = np.log1p(np.maximum(0.0, stock)) / np.log1p(FULL_SHELF)
    return np.minimum(share, 1.0)


def _margin(rows: Rows, scores: Float32s, state: Columns, now_ms: int) -> Float64s:
    return np.clip(np.nan_to_num(state.catalogue.margin[rows].astype(np.float64)), 0.0, 1.0)


def _fresh(rows: Rows, scores: Float32s, state: Columns, now_ms: int) -> Float64s:
    age_ms = np.maximum(0.0, now_ms - state.catalogue.created_ms[rows])
    fresh: Float64s = np.exp2(-age_ms / FRESH_HALF_LIFE_MS)
    return fresh


def _season(rows: Rows, scores: Float32s, state: Columns, now_ms: int) -> Float64s:
    """1 for items of this season, 0 for those of another, a half for those that name none (`attributes.season`)."""
    found = state.catalogue.fields.column(state.catalogue, _SEASON, rows, now_ms)
    assert isinstance(found, Open)
    now = season_at(now_ms)
    worth: Float64s = np.array([*(_in_season(word, now) for word in found.words), 0.5])
    of_season: Float64s = worth.take(found.codes, mode="wrap")
    return of_season  # code -1, of items that name none, is the last


_SEASON: Final = Field("attributes.season", Type.ANY, Scope.ITEM, ("attributes", "season"))
SEASONS: Final = ("winter", "spring", "summer", "autumn")
_ALSO: Final = {"fall": "autumn"}


def season_at(now_ms: int) -> str:
    """Return the season of a moment on the northern half: December, January and February are winter."""
    month = datetime.fromtimestamp(now_ms / 1000, UTC).month
    return SEASONS[month % 12 // 3]


def _in_season(word: object, now: str) -> float:
    named = [word] if isinstance(word, str) else word if isinstance(word, tuple) else ()
    seasons = {_ALSO.get(one.lower(), one.lower()) for one in named} & set(SEASONS)
    return 0.5 if not seasons else float(now in seasons)


_TERMS: Final = {
    "match": _match,
    "trend": _trend,
    "stock": _stock,
    "margin": _margin,
    "fresh": _fresh,
    "season": _season,
}


def _of_largest(values: Float64s) -> Float64s:
    largest = values.max(initial=0.0)
    return values / largest if largest > 0 else np.zeros(len(values))
