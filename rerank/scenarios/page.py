"""One request's page as its scenario decides: chosen, filled up, what is buried behind it, pins in their places."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.ids import item_key
from contracts.scenarios import Fallback, Limit
from expressions.columns import Words
from rerank.pages import FROM_NEWEST, FROM_PINS, FROM_TRENDS, Arranged, Candidates, Page, falling
from rerank.query import Query
from rerank.rules import seen
from rerank.scenarios.choose import Wanted, choose
from rerank.scenarios.compiled import Compiled
from retrieval.catalogue import NO_CODE, CatalogueColumns
from retrieval.item_fields import ITEM_FIELDS, ItemFrame
from retrieval.key_rows import Rows

MOST_CHOSEN_FROM: Final = 400
"""Candidates that a page is chosen from, best first: diversity compares each with each."""
NEW_MS: Final = 30 * 86_400_000
"""An item is new for 30 days."""
_FILLED_FROM: Final = {Fallback.TRENDING: FROM_TRENDS, Fallback.NEWEST: FROM_NEWEST}


@dataclass(frozen=True, slots=True)
class Shop:
    """What a page is laid out with, beside its candidates."""

    catalogue: CatalogueColumns
    fill: Mapping[Fallback, Callable[[], Rows]]
    small: Callable[[Rows], NDArray[np.bool_]]
    """Which rows (n,) are of small suppliers."""
    random: np.random.Generator


def arrange(compiled: Compiled, shop: Shop, query: Query, given: Candidates) -> Arranged:
    """Lay out one page; returns it, and the positions of candidates that a limit held back from it."""
    now_ms, keys = query.now_ms, shop.catalogue.keys
    late = np.concatenate([compiled.buried, np.array(query.tired_of, np.uint64)])
    buried = np.isin(keys[given.rows[given.order]], late) if len(late) else np.zeros(len(given.order), np.bool_)
    order = given.order[~buried][:MOST_CHOSEN_FROM]
    chosen, held = _chosen(compiled, shop, now_ms, given, order)
    if len(chosen) == given.limit and not compiled.scenario.pins:
        positions = order[chosen]
        scores = np.minimum.accumulate(given.scores[positions])
        return Page(positions, given.rows[positions], scores), order[held]
    page = _Built(given, shop.catalogue, limits_of(compiled, given))
    page.add(order[chosen])
    if len(page) < given.limit:
        filling = [(_FILLED_FROM[one], given.further(shop.fill[one]())) for one in compiled.fallback]
        first = [(origin, rows[~np.isin(keys[rows], late)]) for origin, rows in filling]
        page.fill(first)
        page.add(order[held])
        page.fill(first, within_limits=False)
        page.add(given.order[buried])
        page.fill(filling, within_limits=False)
    page.pin(compiled, now_ms)
    return page.built(), order[held]


def limits_of(compiled: Compiled, given: Candidates) -> Sequence[Limit]:
    """Return the scenario's limits; where it names none, the placement's share of a category."""
    if compiled.scenario.limits is None and given.per_category:
        return [Limit(field="category", most=given.per_category)]
    return compiled.limits


def _chosen(
    compiled: Compiled, shop: Shop, now_ms: int, given: Candidates, order: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    scenario, catalogue = compiled.scenario, shop.catalogue
    rows, limit = given.rows[order], given.limit
    shares: list[tuple[float, NDArray[np.bool_]]] = []
    if scenario.new_share:
        shares.append((scenario.new_share, now_ms - catalogue.created_ms[rows] < NEW_MS))
    if scenario.small_supplier_share:
        shares.append((scenario.small_supplier_share, shop.small(rows)))
    diversity = scenario.diversity or 0.0
    explore, limits = scenario.explore or 0.0, limits_of(compiled, given)
    return choose(
        given.scores[order].astype(np.float64),
        rows,
        catalogue.vectors,
        catalogue.has_vector,
        Wanted(
            limit,
            diversity,
            _stacked([codes_of(catalogue, one, rows) for one in limits], len(rows)).astype(np.int32, copy=False),
            np.array([most_of(one, limit) for one in limits], np.int64),
            _stacked([held for _, held in shares], len(rows)).astype(np.bool_, copy=False),
            np.array([share for share, _ in shares], np.float64),
            shop.random.random((limit, 2)) if explore else np.ones((limit, 2)),
            explore,
        ),
    )


def _stacked(columns: Sequence[NDArray[Any]], n: int) -> NDArray[Any]:
    return np.stack(columns) if columns else np.zeros((0, n))


def most_of(limit: Limit, length: int) -> int:
    """Return how many items of a page of that length may be alike."""
    return limit.most if limit.most is not None else math.ceil((limit.share or 1.0) * length - 1e-9)


def codes_of(catalogue: CatalogueColumns, limit: Limit, rows: Rows) -> NDArray[np.int32]:
    """Return what rows (n,) are alike in, as codes; NO_CODE where an item says nothing."""
    if limit.field == "price_band":
        bands: NDArray[np.int32] = catalogue.fields.derived(catalogue, PRICE_BANDS)[rows]
        return bands
    if limit.field == "supplier":
        found = catalogue.fields.column(catalogue, ITEM_FIELDS["supplier"], rows, 0.0, keeps_columns=True)
        assert isinstance(found, Words)
        return found.codes + np.int32(1)
    codes: NDArray[np.int32] = getattr(catalogue, limit.field)[rows]
    return codes


@dataclass(frozen=True)
class PriceBands:
    """The price band of each item, as a code. It is as wide as its lower end times 0.41: 1 to 1.41, 1.41 to 2 ..."""

    def derive(self, frame: ItemFrame) -> NDArray[np.int32]:
        price = frame.catalogue.price[frame.rows].astype(np.float64)
        with np.errstate(all="ignore"):
            bands = np.floor(2 * np.log2(np.maximum(price, 1e-6))) + 1000
        return np.where(price > 0, bands, NO_CODE).astype(np.int32)


PRICE_BANDS: Final = PriceBands()


class _Built:
    """A page that grows: positions and rows, no item twice, limits kept by what fills it up."""

    def __init__(self, given: Candidates, catalogue: CatalogueColumns, limits: Sequence[Limit]) -> None:
        self._given, self._catalogue, self._limits = given, catalogue, limits
        self._positions: list[int] = []
        self._rows: list[int] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, positions: NDArray[np.intp]) -> None:
        """Append candidates as long as there is room."""
        wanted = positions[: self._given.limit - len(self)]
        self._positions += wanted.tolist()
        self._rows += self._given.rows[wanted].tolist()

    def fill(self, filling: Sequence[tuple[int, Rows]], *, within_limits: bool = True) -> None:
        """Append items that were no candidates, by where they come from."""
        for origin, rows in filling:
            self._add_from(origin, rows, within_limits=within_limits)

    def _add_from(self, origin: int, rows: Rows, *, within_limits: bool) -> None:
        rows = rows[~np.isin(rows, self._rows)]
        limits = self._limits if within_limits else ()
        codes = [codes_of(self._catalogue, one, rows).tolist() for one in limits]
        for at, row in enumerate(rows.tolist()):
            if len(self) >= self._given.limit:
                return
            if all(self._has_room(one, codes[place][at]) for place, one in enumerate(limits)):
                self._positions.append(origin)
                self._rows.append(row)

    def pin(self, compiled: Compiled, now_ms: int) -> None:
        """Put pinned items where they belong, unless a rule forbids one. Having been seen does not."""
        pins = compiled.pins_at(now_ms)
        if not pins:
            return
        rows = self._catalogue.rows_of(np.array([item_key(pin.item_id) for pin in pins], np.uint64))
        there = (rows >= 0) & self._catalogue.alive[rows]
        allowed = there & self._given.allowed(
            np.where(there, rows, 0).astype(np.int32), [one for one in self._given.rules if one is not seen]
        )
        for pin, row, may in zip(pins, rows.tolist(), allowed.tolist(), strict=True):
            if may:
                position = self._take_out(row)
                place = min(pin.position - 1, len(self))
                self._positions.insert(place, position)
                self._rows.insert(place, row)

    def built(self) -> Page:
        limit = self._given.limit
        positions = np.array(self._positions[:limit], np.intp)
        return Page(positions, np.array(self._rows[:limit], np.int32), falling(positions, self._given.scores))

    def _take_out(self, row: int) -> int:
        if row not in self._rows:
            return FROM_PINS
        at = self._rows.index(row)
        del self._rows[at]
        return self._positions.pop(at)

    def _has_room(self, limit: Limit, code: int) -> bool:
        if code == NO_CODE:
            return True
        held = codes_of(self._catalogue, limit, np.array(self._rows, np.int32))
        return int((held == code).sum()) < most_of(limit, self._given.limit)
