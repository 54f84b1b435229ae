"""What a profile's clicks say of a user by the catalogue as it is now: brands, categories, prices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.events import EVENT_CODES, EventCode
from contracts.profiles import Profile
from retrieval.catalogue import NO_CODE, CatalogueColumns

MOST: Final = 32
"""Brands and categories told of a user."""


class Learnt(msgspec.Struct, frozen=True):
    """A profile, and how its clicks are weighed: `weights` (256,) by EventCode, half as much after `half_life_ms`."""

    profile: Profile
    weights: NDArray[np.float64]
    half_life_ms: float


def weights_of(by_type: Mapping[str, float]) -> NDArray[np.float64]:
    """Return weights by EventCode, (256,); 0 for a type that is not named. A long look weighs as a cart does."""
    weights = np.zeros(256)
    for name, code in EVENT_CODES.items():
        weights[code] = by_type.get(name, 0.0)
    weights[EventCode.LOOK] = weights[EventCode.CART]
    return weights


def value_of(learnt: Learnt, name: str, catalogue: CatalogueColumns, now_ms: int) -> object:
    """Return what was learnt under a name of LEARNT: a number, a text, a tuple of texts; None for what is not known."""
    return LEARNT[name](learnt, catalogue, now_ms)


def worth_of(learnt: Learnt, now_ms: int) -> NDArray[np.float64]:
    """Return what each click of the window counts, (n,)."""
    clicks = learnt.profile.clicks
    ages = np.maximum(0.0, now_ms - clicks["ts_ms"].astype(np.float64))
    worth: NDArray[np.float64] = learnt.weights[clicks["code"]] * np.exp2(-ages / learnt.half_life_ms)
    return worth


def strongest(
    learnt: Learnt, catalogue: CatalogueColumns, codes: NDArray[np.int32], words: Sequence[str], now_ms: int
) -> tuple[str, ...]:
    """Return the words of a column of the catalogue that the clicks are of, what counts most first."""
    rows = catalogue.rows_of(np.ascontiguousarray(learnt.profile.clicks["item"]))
    known = (rows >= 0) & (_codes(codes, rows) != NO_CODE)
    found, place = np.unique(codes[rows[known]], return_inverse=True)
    sums = np.bincount(place, worth_of(learnt, now_ms)[known], len(found))
    order = np.argsort(-sums, kind="stable")
    return tuple(words[code] for code, total in zip(found[order], sums[order], strict=True) if total > 0)[:MOST]


def _codes(codes: NDArray[np.int32], rows: NDArray[np.int32]) -> NDArray[np.int32]:
    return codes[np.maximum(rows, 0)] if len(codes) else np.full(len(rows), NO_CODE, np.int32)


def _brands(learnt: Learnt, catalogue: CatalogueColumns, now_ms: int) -> object:
    return strongest(learnt, catalogue, catalogue.brand, list(catalogue.words.brands), now_ms)


def _categories(learnt: Learnt, catalogue: CatalogueColumns, now_ms: int) -> object:
    return strongest(learnt, catalogue, catalogue.category, list(catalogue.words.categories), now_ms)


def _price(learnt: Learnt, catalogue: CatalogueColumns, now_ms: int) -> object:
    """Return the mean price of what was clicked, by what each click counts."""
    rows = catalogue.rows_of(np.ascontiguousarray(learnt.profile.clicks["item"]))
    worth = worth_of(learnt, now_ms)
    known = rows >= 0
    prices, worth = catalogue.price[rows[known]].astype(np.float64), worth[known]
    there = ~np.isnan(prices) & (worth > 0)
    return float(np.average(prices[there], weights=worth[there])) if there.any() else None


_Ask = Callable[[Learnt, CatalogueColumns, int], object]
LEARNT: Final[Mapping[str, _Ask]] = {
    "brands": _brands,
    "categories": _categories,
    "price": _price,
    "clicks": lambda learnt, _, __: float(learnt.profile.events),
    "purchases": lambda learnt, _, __: float(learnt.profile.purchases),
    "device": lambda learnt, _, __: learnt.profile.device or None,
    "region": lambda learnt, _, __: learnt.profile.region or None,
}
"""Names under `user.` that a profile answers, where the site's document does not say."""
