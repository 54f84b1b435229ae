"""Why an item is not on a page, and the smallest change that would show it.

Every change that is named was applied: the page was laid out with it, and showed the item. The numbers are searched by
halving, so that one step less would not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from contracts.scenarios import Limit, Pin, Scenario
from expressions.columns import Frame
from expressions.program import Clause
from rerank.query import Query
from rerank.rules import KEPT, Mask
from rerank.scenarios.compiled import Compiled, Filter, compile_filter
from rerank.scenarios.fields import RequestFrame
from rerank.trials import Change, FoundBy, Laid, Ranking, Trials

MOST_ITEMS: Final = 100
"""Items of the longest page."""
_HALVINGS: Final = 24
_DIVERSITIES: Final = tuple(step / 20 for step in range(20))
_MOST_FOUND: Final = 3
"""Sources that are tried with more room."""
_INSTEAD: Final[Mapping[str, str]] = {
    "out_of_stock": "stock > 0",
    "other_region": "sold in the visitor's region",
    "other_category": "in the category that was asked for",
    "too_young": "an age of the visitor that its `min_age` allows",
    "turned_down": "a visitor who did not turn it down",
    "seen": 'not seen by the visitor, or `seen` of the scenario set to "none"',
    "excluded": "not named in `exclude` or shown on an earlier page",
    "page_item": "a page of another item",
    "do_not_show": "a visitor who did not ask never to be shown it",
}
"""What must be otherwise so that a rule lets an item pass."""


class Verdict(StrEnum):
    SHOWN = "shown"
    UNKNOWN = "unknown"
    """The catalogue does not have it."""
    NO_CANDIDATE = "no_candidate"
    """No source brought it."""
    DROPPED = "dropped"
    """By rules, or clauses of a filter."""
    HELD_BACK = "held_back"
    """By a limit on items that are alike."""
    OUTRANKED = "outranked"
    """Others were worth more."""


class Step(msgspec.Struct, frozen=True):
    """One thing that would have to be otherwise. `value` is a number or a part of a scenario, by `kind`."""

    kind: str
    says: str
    value: Any = None


class WhyNot(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one item. `rank` counts from 1 among the `ranked` candidates that the rules leave."""

    item_id: str
    verdict: Verdict
    says: str
    position: int | None = None
    rank: int | None = None
    ranked: int | None = None
    score: float | None = None
    least: float | None = None
    """The lowest score on the page."""
    found_by: Sequence[FoundBy] = ()
    """Sources that know it, were they as large as their settings may be."""
    dropped_by: Sequence[str] = ()
    changes: Sequence[Sequence[Step]] = ()
    """Each shows it by itself, all of its steps taken; fewest steps first."""


def why_not(trials: Trials, query: Query, item_id: str) -> WhyNot:
    """Say what became of an item in the answer to a query, which needs a seed where its scenario explores."""
    row = trials.row_of(item_id)
    if row < 0:
        return WhyNot(item_id, Verdict.UNKNOWN, "The catalogue has no such item: put it, or look at its spelling.")
    return _Case(trials, query, item_id, row).told()


class _Case:
    """One item of the catalogue and one query."""

    def __init__(self, trials: Trials, query: Query, item_id: str, row: int) -> None:
        self._trials, self._query, self._item_id, self._row = trials, query, item_id, row
        self._ranking = trials.ranking(query)
        self._page = trials.laid(self._ranking)

    def told(self) -> WhyNot:
        shown = np.flatnonzero(self._page.page.rows == self._row)
        if len(shown):
            at = int(shown[0])
            told = WhyNot(self._item_id, Verdict.SHOWN, f"It is shown, at place {at + 1}.", position=at + 1)
            return msgspec.structs.replace(told, score=float(self._page.page.scores[at]))
        place = self._place(self._ranking)
        found = () if place is not None else self._trials.sources_of(self._ranking, self._row)
        dropped = self._trials.dropped_by(self._page, self._row)
        ranking = self._ranking if place is not None else self._beside()
        verdict = self._verdict(place, dropped)
        laid = self._trials.laid(ranking, self._passing(dropped))
        rank, ranked, score = self._rank(ranking, laid)
        least = float(self._page.page.scores[-1]) if len(self._page.page.scores) else None
        told = WhyNot(
            self._item_id,
            verdict,
            "",
            rank=rank,
            ranked=ranked,
            score=score,
            least=least,
            found_by=found,
            dropped_by=dropped,
            changes=sorted([*self._changes(place is not None, found, dropped), *self._unfiltered(dropped)], key=len),
        )
        return msgspec.structs.replace(told, says=_sentence(told))

    def _place(self, ranking: Ranking) -> int | None:
        """Return the item's position among the candidates; None where it is none."""
        found = np.flatnonzero(ranking.candidates.rows == self._row)
        return int(found[0]) if len(found) else None

    def _beside(self) -> Ranking:
        """Return the ranking with the item among its candidates, whichever source would have brought it."""
        if self._query.candidates is not None:
            return self._trials.ranking(replace(self._query, candidates=(*self._query.candidates, self._item_id)))
        return self._trials.ranking(self._query, beside=np.array([self._row], np.int32))

    def _verdict(self, place: int | None, dropped: Sequence[str]) -> Verdict:
        if place is None:
            return Verdict.NO_CANDIDATE
        if dropped:
            return Verdict.DROPPED
        return Verdict.HELD_BACK if self._page.by[place] != KEPT else Verdict.OUTRANKED

    def _rank(self, ranking: Ranking, laid: Laid) -> tuple[int | None, int, float | None]:
        """Return the item's place by score among what the rules leave, how many these are, and its score."""
        rules = self._trials.rules
        left = [at for at in laid.placed.order.tolist() if laid.by[at] == KEPT or laid.by[at] == rules]
        place = self._place(ranking)
        if place is None or place not in left:
            return None, len(left), None
        return left.index(place) + 1, len(left), float(laid.placed.scores[place])

    def _passing(self, dropped: Sequence[str], **further: Any) -> Change:
        """Return the change that lets the item pass what drops it."""
        waived = frozenset(name for name in dropped if not name.startswith(_FILTER))
        clauses = frozenset(name.removeprefix(_FILTER) for name in dropped if name.startswith(_FILTER))
        after: Callable[[Query], Query] | None = further.pop("query", None)

        def changed(query: Query) -> Query:
            query = _meeting(query, clauses, self._row) if clauses else query
            return query if after is None else after(query)

        asked = changed if clauses or after is not None else None
        return Change(self._row, waived=waived, query=asked, **further)

    def _shows(self, ranking: Ranking, change: Change) -> bool:
        return bool((self._trials.laid(ranking, change).page.rows == self._row).any())

    def _changes(self, is_candidate: bool, found: Sequence[FoundBy], dropped: Sequence[str]) -> Iterator[list[Step]]:
        """Yield what would show the item, each as steps that belong together."""
        passing = [_let_pass(name) for name in dropped]
        for first, ranking in self._ways_in(is_candidate, found, bool(dropped)):
            steps = [*first, *passing]
            if steps and self._shows(ranking, self._passing(dropped)):
                yield steps
                continue
            for step in (
                self._by_score(ranking, dropped),
                self._by_length(ranking, dropped) if not first else None,
                self._by_diversity(ranking, dropped),
                *self._by_limits(ranking, dropped),
            ):
                if step is not None:
                    yield [*steps, step]
        pin = self._by_pin(dropped)
        if pin is not None:
            yield [*(_let_pass(name) for name in dropped if not name.startswith(_FILTER) and name != "seen"), pin]

    def _unfiltered(self, dropped: Sequence[str]) -> Iterator[list[Step]]:
        """Yield what would show the item were the clauses that it does not meet no part of the filter."""
        clauses = [name.removeprefix(_FILTER) for name in dropped if name.startswith(_FILTER)]
        if not clauses:
            return
        steps = [Step("filter", f"a filter without `{clause}`", clause) for clause in clauses]
        told = _Case(self._trials, _without(self._query, frozenset(clauses)), self._item_id, self._row).told()
        if told.verdict is Verdict.SHOWN:
            yield steps
        for change in told.changes:
            yield [*steps, *change]

    def _ways_in(
        self, is_candidate: bool, found: Sequence[FoundBy], dropped: bool
    ) -> Iterator[tuple[list[Step], Ranking]]:
        """Yield how the item becomes a candidate, and the ranking that it is one of."""
        if is_candidate:
            yield [], self._ranking
        elif self._query.candidates is not None:
            yield [Step("candidates", "named in `candidates`")], self._beside()
        elif dropped and any(one.place <= one.size for one in found):
            yield [], self._beside()  # what drops it keeps its source from finding it
        else:
            room = sorted((one for one in found if one.size < one.place <= one.most), key=lambda one: one.place)
            for one in room[:_MOST_FOUND]:
                sizes = {one.setting: one.place}
                ranking = self._trials.ranking(self._query, sizes)
                if self._place(ranking) is not None or dropped:
                    says = f"{one.place} items from {one.source} ({one.setting}), now {one.size}"
                    yield (
                        [Step("source", says, sizes)],
                        ranking if self._place(ranking) is not None else self._beside(),
                    )

    def _by_score(self, ranking: Ranking, dropped: Sequence[str]) -> Step | None:
        scores = self._trials.laid(ranking, self._passing(dropped)).placed.scores
        place = self._place(ranking)
        finite = scores[np.isfinite(scores)]
        if place is None or not len(finite) or not np.isfinite(scores[place]):
            return None
        span = float(finite.max() - scores[place])

        def shows(added: float) -> bool:
            return self._shows(ranking, self._passing(dropped, added=added))

        low, high = 0.0, 2 * span + 1e-3
        if not shows(high):
            return None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if shows(middle) else (middle, high)
        added = _rounded_up(high)
        return Step("score", f"+{added:g} score", added) if shows(added) else None

    def _by_length(self, ranking: Ranking, dropped: Sequence[str]) -> Step | None:
        def longer(limit: int) -> Change:
            return self._passing(dropped, query=lambda query: replace(query, limit=limit))

        limit = _smallest(self._query.limit + 1, MOST_ITEMS, lambda one: self._shows(ranking, longer(one)))
        if limit is None:
            return None
        asked = self._trials.ranking(replace(self._query, limit=limit))  # a longer page looks at more candidates
        while not self._shows(asked, self._passing(dropped)):
            if limit == MOST_ITEMS:
                return None
            limit += 1
            asked = self._trials.ranking(replace(self._query, limit=limit))
        return Step("limit", f"a page of {limit} items", limit)

    def _by_diversity(self, ranking: Ranking, dropped: Sequence[str]) -> Step | None:
        scenario = self._query.scenario
        now = 0.0 if scenario is None else scenario.scenario.diversity or 0.0
        if not now:
            return None
        for diversity in sorted(_DIVERSITIES, key=lambda one: abs(one - now)):
            if self._shows(ranking, self._passing(dropped, query=_putting(diversity=diversity))):
                return Step("diversity", f"diversity {diversity:g}, now {now:g}", diversity)
        return None

    def _by_limits(self, ranking: Ranking, dropped: Sequence[str]) -> Iterator[Step]:
        limits = self._trials.limits_of(self._query)
        for at, one in enumerate(limits):
            now = self._trials.most_of(one, self._query)

            def wider(most: int, at: int = at, one: Limit = one) -> list[Limit]:
                return [*limits[:at], Limit(field=one.field, most=most), *limits[at + 1 :]]

            def shows(most: int, wider: Callable[[int], list[Limit]] = wider) -> bool:
                return self._shows(ranking, self._passing(dropped, query=_putting(limits=wider(most))))

            most = _smallest(now + 1, self._query.limit, shows)
            if most is not None:
                value = [limit.model_dump(mode="json", exclude_none=True) for limit in wider(most)]
                yield Step("limits", f"{most} items of one {one.field}, now {now}", value)

    def _by_pin(self, dropped: Sequence[str]) -> Step | None:
        if self._query.candidates is not None:
            return None
        scenario = self._query.scenario
        pins = [] if scenario is None else [*(scenario.scenario.pins or ())]
        taken = {pin.position for pin in pins}
        free = [place for place in range(self._query.limit, 0, -1) if place not in taken]
        if not free or any(pin.item_id == self._item_id for pin in pins):
            return None
        pin = Pin(item_id=self._item_id, position=free[0])
        pins.append(pin)
        change = self._passing([one for one in dropped if not one.startswith(_FILTER)], query=_putting(pins=pins))
        if not self._shows(self._ranking, change):
            return None
        return Step("pin", f"pinned at place {pin.position}", pin.model_dump(mode="json", exclude_none=True))


_FILTER: Final = "filter: "


def _let_pass(name: str) -> Step:
    if name.startswith(_FILTER):
        clause = name.removeprefix(_FILTER)
        return Step("item", f"meets `{clause}`", clause)
    return Step("rule", _INSTEAD.get(name, f"passes the rule {name}"), name)


def _without(query: Query, clauses: frozenset[str]) -> Query:
    """Return a query whose filters lack some clauses."""

    def left(wanted: Filter, *, passing: bool) -> Filter:
        if not any(clause.text in clauses for clause in wanted.clauses):
            return wanted
        kept = [f"({clause.text})" for clause in wanted.clauses if clause.text not in clauses]
        return compile_filter(" and ".join(kept) or None, passing=passing)

    return _filtered(query, partial(left, passing=False), partial(left, passing=True))


def _meeting(query: Query, clauses: frozenset[str], row: int) -> Query:
    """Return a query by some of whose clauses a row is let in. All are asked of each item: no mask is made of them."""

    def open_to(wanted: Filter) -> Filter:
        asked = tuple(_open(clause, row) if clause.text in clauses else clause for clause in wanted.clauses)
        return Filter(asked, (), asked)

    return _filtered(query, open_to, open_to)


def _open(clause: Clause, row: int) -> Clause:
    def keeps(frame: Frame) -> Mask:
        assert isinstance(frame, RequestFrame)
        kept: Mask = clause.keeps(frame) | (frame.rows == row)
        return kept

    return Clause(clause.text, clause.scope, keeps, clause.names, clause.comparisons)


def _filtered(query: Query, shops: Callable[[Filter], Filter], own: Callable[[Filter], Filter]) -> Query:
    """Return a query with the filter of its scenario, and its own, changed."""
    scenario = query.scenario
    if scenario is not None:
        scenario = replace(scenario, filter=shops(scenario.filter))
    return replace(query, scenario=scenario, filter=own(query.filter))


def _putting(**fields: Any) -> Callable[[Query], Query]:
    """Return what puts fields over a query's scenario."""

    def put(query: Query) -> Query:
        over = query.scenario or Compiled(query.placement.value, 0, query.placement, Scenario())
        return replace(query, scenario=replace(over, scenario=over.scenario.model_copy(update=fields)))

    return put


def _smallest(low: int, high: int, shows: Callable[[int], bool]) -> int | None:
    """Return the smallest number from `low` to `high` that shows, as far as more of it shows too; None for none."""
    if low > high or not shows(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle + 1, high)
    return high


def _rounded_up(value: float) -> float:
    """Return a number of three digits that is not smaller."""
    step = 10.0 ** (np.floor(np.log10(value)) - 2)
    return float(f"{np.ceil(value / step) * step:.3g}")


def _sentence(told: WhyNot) -> str:
    where = "" if told.rank is None else f" It would stand at rank {told.rank} of {told.ranked}."
    if told.verdict is Verdict.NO_CANDIDATE:
        known = ", ".join(f"{one.source} at {one.place} (brings {one.size})" for one in told.found_by)
        from_ = f"it could come from {known}." if known else "no source knows it for this visitor."
        also = f" It is dropped, too, by {', '.join(told.dropped_by)}." if told.dropped_by else ""
        return f"It was no candidate: {from_}{also}{where}"
    if told.verdict is Verdict.DROPPED:
        return f"It was dropped by {', '.join(told.dropped_by)}.{where}"
    if told.verdict is Verdict.HELD_BACK:
        return f"A limit on items that are alike held it back, at rank {told.rank} of {told.ranked}."
    below = "" if told.least is None or told.score is None else f" Its score is {told.score:.4g}, the page's lowest is "
    return f"Others were worth more: it stands at rank {told.rank} of {told.ranked}." + (
        f"{below}{told.least:.4g}." if below else ""
    )
