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
    pinned = _pinned(compiled, shop.catalogue, now_ms, given)
    mine = given.order[~np.isin(given.rows[given.order], pinned.rows)] if len(pinned.rows) else given.order
    late = np.concatenate([compiled.buried, np.array(query.tired_of, np.uint64)])
    buried = np.isin(keys[given.rows[mine]], late) if len(late) else np.zeros(len(mine), np.bool_)
    order = mine[~buried][:MOST_CHOSEN_FROM]
    chosen, held = _chosen(compiled, shop, now_ms, given, order, pinned.rows)
    if len(chosen) == given.limit and not compiled.scenario.pins:
        positions = order[chosen]
        scores = np.minimum.accumulate(given.scores[positions])
        return Page(positions, given.rows[positions], scores), order[held]
    page = _Built(given, shop.catalogue, limits_of(compiled, given), pinned)
    page.add(order[chosen])
    if page.room:
        filling = [(_FILLED_FROM[one], given.further(shop.fill[one]())) for one in _fallback(compiled, given)]
        first = [(origin, rows[~np.isin(keys[rows], late)]) for origin, rows in filling]
        page.fill(first)
        page.add(order[held])
        page.fill(first, within_limits=False)
        page.add(mine[buried])
        page.fill(filling, within_limits=False)
    return page.built(), order[held]


def _fallback(compiled: Compiled, given: Candidates) -> Sequence[Fallback]:
    """Return what fills the page; a hide never empties one that has items to show."""
    if given.fills_anyway and Fallback.NEWEST not in compiled.fallback:
        return (*compiled.fallback, Fallback.NEWEST)
    return compiled.fallback


@dataclass(frozen=True, slots=True)
class _Pinned:
    """Pinned items that no rule forbids, the first position first: where each belongs, its row, its position among the
    candidates (FROM_PINS: it is none)."""

    places: tuple[int, ...]
    rows: Rows
    positions: tuple[int, ...]


def _pinned(compiled: Compiled, catalogue: CatalogueColumns, now_ms: int, given: Candidates) -> _Pinned:
    """Return the pins that a page holds. Having been seen forbids none; a position beyond the page is on no page."""
    pins = [pin for pin in compiled.pins_at(now_ms) if pin.position <= given.limit]
    if not pins:
        return _Pinned((), np.zeros(0, np.int32), ())
    rows = catalogue.rows_of(np.array([item_key(pin.item_id) for pin in pins], np.uint64))
    there = (rows >= 0) & catalogue.alive[rows]
    rules = [one for one in given.rules if one is not seen]
    allowed = there & given.allowed(np.where(there, rows, 0).astype(np.int32), rules)
    position_of = dict(zip(given.rows[given.order].tolist(), given.order.tolist(), strict=True))
    kept = rows[allowed]
    return _Pinned(
        tuple(pin.position - 1 for pin, may in zip(pins, allowed.tolist(), strict=True) if may),
        kept,
        tuple(position_of.get(row, FROM_PINS) for row in kept.tolist()),
    )


def limits_of(compiled: Compiled, given: Candidates) -> Sequence[Limit]:
    """Return the scenario's limits; where it names none, the placement's share of a category."""
    if compiled.scenario.limits is None and given.per_category:
        return [Limit(field="category", most=given.per_category)]
    return compiled.limits


def _chosen(
    compiled: Compiled, shop: Shop, now_ms: int, given: Candidates, order: NDArray[np.intp], pinned: Rows
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what of the candidates in this order is on the page beside the pinned rows, and what a limit held back."""
    scenario, catalogue, fixed = compiled.scenario, shop.catalogue, len(pinned)
    rows, limit = given.rows[order], given.limit
    if fixed:
        rows = np.concatenate([pinned, rows])
    shares: list[tuple[float, NDArray[np.bool_]]] = []
    if scenario.new_share:
        shares.append((scenario.new_share, now_ms - catalogue.created_ms[rows] < NEW_MS))
    if scenario.small_supplier_share:
        shares.append((scenario.small_supplier_share, shop.small(rows)))
    diversity = scenario.diversity or 0.0
    explore, limits = scenario.explore or 0.0, limits_of(compiled, given)
    values = np.zeros(len(rows), np.float64)
    values[fixed:] = given.scores[order]
    chosen, held = choose(
        values,
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
            fixed,
        ),
    )
    return chosen[fixed:] - fixed, held - fixed


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
    """A page that grows around its pins: positions and rows, no item twice, limits kept by what fills it up."""

    def __init__(
        self, given: Candidates, catalogue: CatalogueColumns, limits: Sequence[Limit], pinned: _Pinned
    ) -> None:
        self._given, self._catalogue, self._limits, self._pinned = given, catalogue, limits, pinned
        self._positions: list[int] = []
        self._rows: list[int] = []

    @property
    def room(self) -> int:
        """Items that are missing from a full page."""
        return self._given.limit - len(self._pinned.rows) - len(self._rows)

    def add(self, positions: NDArray[np.intp]) -> None:
        """Append candidates as long as there is room."""
        wanted = positions[: self.room]
        self._positions += wanted.tolist()
        self._rows += self._given.rows[wanted].tolist()

    def fill(self, filling: Sequence[tuple[int, Rows]], *, within_limits: bool = True) -> None:
        """Append items that were no candidates, by where they come from."""
        for origin, rows in filling:
            self._add_from(origin, rows, within_limits=within_limits)

    def _add_from(self, origin: int, rows: Rows, *, within_limits: bool) -> None:
        rows = rows[~np.isin(rows, self._all)]
        limits = self._limits if within_limits else ()
        codes = [codes_of(self._catalogue, one, rows).tolist() for one in limits]
        for at, row in enumerate(rows.tolist()):
            if not self.room:
                return
            if all(self._has_room(one, codes[place][at]) for place, one in enumerate(limits)):
                self._positions.append(origin)
                self._rows.append(row)

    def built(self) -> Page:
        """Return the page, pins in their places: of a page that is too short for one, it is the last."""
        positions, rows, scored = list(self._positions), list(self._rows), list(self._positions)
        pinned = self._pinned
        for place, row, position in zip(pinned.places, pinned.rows.tolist(), pinned.positions, strict=True):
            positions.insert(place, position)
            rows.insert(place, row)
            scored.insert(place, FROM_PINS)  # level with the item before it, whatever its own score is
        scores = falling(np.array(scored, np.intp), self._given.scores)
        return Page(np.array(positions, np.intp), np.array(rows, np.int32), scores)

    @property
    def _all(self) -> Rows:
        return np.array([*self._pinned.rows.tolist(), *self._rows], np.int32)

    def _has_room(self, limit: Limit, code: int) -> bool:
        if code == NO_CODE:
            return True
        held = codes_of(self._catalogue, limit, self._all)
        return int((held == code).sum()) < most_of(limit, self._given.limit)
