"""A scenario that is ready to be applied: bases put under it, expressions compiled, pins looked up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.api import Placement
from contracts.errors import NextclickError
from contracts.ids import item_key
from contracts.scenarios import MAX_BASES, Boost, Fallback, Limit, Pin, Scenario, Value, placement_of
from expressions.errors import ExpressionError
from expressions.program import Clause, Condition, condition
from expressions.types import Scope
from rerank.scenarios.fields import FIELDS
from retrieval.item_fields import CHEAP, ItemFrame, ItemMask

_SETTING_OF: Final = {"covisited": "covisit"}
MAX_COLUMNS: Final = 20
"""Fields of documents that conditions of one scenario read: each becomes a column of the whole catalogue."""
MAX_READ: Final = 100
"""Fields that conditions of one scenario read of each candidate of each request: what is not looked up by item."""
NOTHING: Final = Scenario()
"""What a placement decides of its own: this very object."""
DEFAULT_FALLBACK: Final = (Fallback.TRENDING, Fallback.NEWEST)


class ScenarioError(NextclickError):
    """A scenario that cannot be applied. `pointer` says where in the document (RFC 6901)."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer or 'the scenario'}: {detail}")
        self.pointer, self.detail = pointer, detail


@dataclass(frozen=True, slots=True)
class Filter:
    """Clauses that every candidate must meet: those that are looked up of every item, as masks, and the others."""

    clauses: tuple[Clause, ...] = ()
    masks: tuple[ItemMask, ...] = ()
    others: tuple[Clause, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The fields that it reads."""
        return frozenset(name for clause in self.clauses for name in clause.names)

    def __add__(self, other: Filter) -> Filter:
        if not other.clauses:
            return self
        return Filter(self.clauses + other.clauses, self.masks + other.masks, self.others + other.others)


NO_FILTER: Final = Filter()


@dataclass(frozen=True, slots=True)
class Boosted:
    """A boost with its condition compiled."""

    boost: Boost
    condition: Condition


@dataclass(frozen=True)
class ItemFactors:
    """What boosts that read items alone multiply each item by, all together."""

    boosts: tuple[tuple[str, float], ...]
    conditions: tuple[Condition, ...] = field(compare=False)

    def derive(self, frame: ItemFrame) -> NDArray[np.float32]:
        factors = np.ones(frame.size, np.float32)
        for (_, multiply), one in zip(self.boosts, self.conditions, strict=True):
            factors[one.keeps(frame)] *= multiply
        return factors


@dataclass(frozen=True, slots=True)
class ActiveBoosts:
    """The boosts that count at a moment: those of items as one column, and the others."""

    all: tuple[Boosted, ...] = ()
    of_items: ItemFactors | None = None
    of_requests: tuple[Boosted, ...] = ()


@dataclass(frozen=True, eq=False)
class Compiled:
    """One version of a scenario. Two are equal when they are the same object."""

    name: str
    version: int
    """0: a draft, or a placement that nothing was put over."""
    placement: Placement
    """What is left out, and counted, where the scenario does not say."""
    scenario: Scenario
    """With everything that its bases say."""
    filter: Filter = NO_FILTER
    boosts: tuple[Boosted, ...] = ()
    buried: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    """Ascending item keys."""
    _active: dict[tuple[bool, ...], ActiveBoosts] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether this is a placement that nothing was put over."""
        return self.scenario is NOTHING

    @property
    def names(self) -> frozenset[str]:
        """The fields that its conditions read."""
        return self.filter.names.union(*(clause.names for one in self.boosts for clause in one.condition.clauses))

    @property
    def sources(self) -> dict[str, int]:
        """Numbers of candidates by setting of the sources, where the scenario says one."""
        given = self.scenario.sources
        sizes = {} if given is None else given.model_dump(exclude_none=True)
        found = {_SETTING_OF.get(name, name): size for name, size in sizes.items()}
        return found | {"covisit_recent": 0} if found.get("covisit") == 0 else found  # none of either kind

    @property
    def ranks_apart(self) -> bool:
        """Whether its requests are no batch with others': it sizes sources, or names a re-ranker."""
        return bool(self.scenario.sources) or self.scenario.ranker is not None

    @cached_property
    def weight_array(self) -> NDArray[np.float64]:
        """(t,) in the order of Value's fields; of a scenario without a value model the match alone counts."""
        return np.array(list((self.scenario.weights or Value()).model_dump().values()), np.float64)

    @cached_property
    def decides_value(self) -> bool:
        """Whether scores are made anew."""
        return bool(self.scenario.weights or self.boosts or self.scenario.popularity_debias)

    def boosts_at(self, now_ms: int) -> ActiveBoosts:
        """Return the boosts that count at a moment."""
        if not self.boosts:
            return NO_BOOSTS
        counts = tuple(boosted.boost.counts_at(now_ms) for boosted in self.boosts)
        if counts not in self._active:
            self._active.clear()
            self._active[counts] = _active(
                tuple(one for one, is_now in zip(self.boosts, counts, strict=True) if is_now)
            )
        return self._active[counts]

    @property
    def limits(self) -> Sequence[Limit]:
        return self.scenario.limits or ()

    @property
    def fallback(self) -> Sequence[Fallback]:
        return DEFAULT_FALLBACK if self.scenario.fallback is None else self.scenario.fallback

    @cached_property
    def decides_page(self) -> bool:
        """Whether pages are laid out otherwise than by score and the share of a category."""
        scenario = self.scenario
        shares = scenario.new_share or scenario.small_supplier_share or scenario.explore or scenario.diversity
        listed = scenario.limits is not None or scenario.fallback is not None
        return bool(shares or scenario.pins or scenario.fatigue or listed or len(self.buried))

    def pins_at(self, now_ms: int) -> list[Pin]:
        """Return the pins that count at a moment, the first position first."""
        return sorted((pin for pin in self.scenario.pins or () if pin.counts_at(now_ms)), key=lambda pin: pin.position)


NO_BOOSTS: Final = ActiveBoosts()


def _active(boosts: tuple[Boosted, ...]) -> ActiveBoosts:
    of_items = [one for one in boosts if all(clause.scope is Scope.ITEM for clause in one.condition.clauses)]
    factors = ItemFactors(
        tuple((one.condition.text, one.boost.multiply) for one in of_items), tuple(one.condition for one in of_items)
    )
    return ActiveBoosts(boosts, factors if of_items else None, tuple(one for one in boosts if one not in of_items))


def plain(placement: Placement) -> Compiled:
    """Return a placement that nothing was put over."""
    return Compiled(placement.value, 0, placement, NOTHING)


def compile_scenario(
    name: str, version: int, scenario: Scenario, base_of: Callable[[str], Scenario | None]
) -> Compiled:
    """Compile a scenario over its bases. `base_of` finds a published one. Raises ScenarioError."""
    whole, placement = _over_bases(name, scenario, base_of)
    boosts = [
        Boosted(boost, compile_condition(f"/boosts/{at}/if", boost.if_)) for at, boost in enumerate(whole.boosts or ())
    ]
    keys, filter_ = sorted(item_key(item_id) for item_id in whole.bury or ()), compile_filter(whole.filter)
    _expect_soon_read(filter_, boosts)
    _expect_few_columns(filter_, boosts)
    return Compiled(name, version, placement, whole, filter_, tuple(boosts), np.array(keys, np.uint64))


def _expect_soon_read(filter_: Filter, boosts: Sequence[Boosted]) -> None:
    """Raise ScenarioError for conditions that take too long to evaluate over the candidates of a request."""
    parts = [("/filter", filter_.others)]
    parts += [(f"/boosts/{at}/if", one.condition.clauses) for at, one in enumerate(boosts)]
    read = 0
    for pointer, clauses in parts:
        read += sum(clause.comparisons for clause in clauses if clause.scope is not Scope.ITEM)
        if read > MAX_READ:
            raise ScenarioError(
                pointer,
                f"expected conditions that read at most {MAX_READ} fields of each candidate, got {read}: titles, "
                "descriptions, ids, ages, the session, the page, the clock and the request are read so; use fields "
                "such as category, brand or attributes, or `in` for several texts",
            )


def _expect_few_columns(filter_: Filter, boosts: Sequence[Boosted]) -> None:
    """Raise ScenarioError for conditions over so many fields of documents that making their columns takes seconds."""
    read: set[str] = set()
    for pointer, clauses in [
        ("/filter", filter_.clauses),
        *((f"/boosts/{at}/if", one.condition.clauses) for at, one in enumerate(boosts)),
    ]:
        read.update(name for clause in clauses if clause.scope is Scope.ITEM for name in clause.names - CHEAP)
        if len(read) > MAX_COLUMNS:
            raise ScenarioError(
                pointer,
                f"expected conditions over at most {MAX_COLUMNS} fields of documents, got {len(read)}",
            )


def compile_filter(text: str | None, pointer: str = "/filter", *, passing: bool = False) -> Filter:
    """Compile a filter of a scenario, or (`passing`) of a request. Raises ScenarioError with the place in it.

    A request's clauses are looked up of every item only where that is cheap: anybody may send any number of them.
    """
    if text is None:
        return NO_FILTER
    clauses = compile_condition(pointer, text, passing=passing).clauses
    masked = [one for one in clauses if one.scope is Scope.ITEM and (not passing or one.names <= CHEAP)]
    mask = ItemMask(" and ".join(f"({one.text})" for one in masked), tuple(masked), passing)
    return Filter(clauses, (mask,) if masked else (), tuple(one for one in clauses if one not in masked))


def _over_bases(name: str, scenario: Scenario, base_of: Callable[[str], Scenario | None]) -> tuple[Scenario, Placement]:
    whole, seen = scenario, [name]
    placement = placement_of(name)
    if whole.base == name and placement is not None:
        return whole, placement  # what the placement does of its own
    while whole.base is not None:
        base = whole.base
        if base in seen or len(seen) > MAX_BASES:
            raise ScenarioError("/base", f"expected at most {MAX_BASES} bases and no circle, got {' over '.join(seen)}")
        found = base_of(base)
        if found is None and placement_of(base) is None:
            raise ScenarioError("/base", f"there is no scenario {base!r}")
        placement = placement or placement_of(base)
        seen.append(base)
        whole = whole.over(found or Scenario())
        if found is not None and found.base is not None and found.base != base:
            whole = whole.model_copy(update={"base": found.base})
    return whole, placement or Placement.HOMEPAGE


def compile_condition(pointer: str, text: str, *, passing: bool = False) -> Condition:
    """Compile an expression that stands at a pointer. Raises ScenarioError."""
    try:
        return condition(text, FIELDS) if passing else _remembered(text)
    except ExpressionError as error:
        raise ScenarioError(pointer, str(error)) from error


@lru_cache(maxsize=4096)
def _remembered(text: str) -> Condition:
    """Return a condition of a scenario: with each one that is published, all are compiled again."""
    return condition(text, FIELDS)
