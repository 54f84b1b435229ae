"""What the scenarios of a batch decide: which candidates a filter drops, what each is worth, how pages are laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from contracts.ids import item_key
from contracts.scenarios import Fallback
from expressions.program import Clause
from rerank.pages import FROM_PINS, Arrange, Decided, Page
from rerank.query import Query
from rerank.rules import KEPT
from rerank.scenarios.compiled import Boosted, Compiled
from rerank.scenarios.fields import RequestFrame
from rerank.scenarios.page import Shop, arrange
from rerank.scenarios.value import TERMS, Columns, Valued, value
from retrieval.candidates import Candidates
from retrieval.item_fields import KEPT as KEPT_BY_ALL
from retrieval.key_rows import Rows
from retrieval.serving_state import ServingState

Float32s = NDArray[np.float32]
Mask = NDArray[np.bool_]


_NONE = np.zeros(0, np.intp)


class Deciding:
    """What is decided of one batch. Plain queries are passed by."""

    def __init__(self, queries: Sequence[Query], candidates: Candidates, state: ServingState) -> None:
        self._queries, self._candidates, self._state = queries, candidates, state
        self._valued: dict[int, Valued] = {}
        self._dropped: dict[int, dict[str, int]] = {}

    def scores(self, scores: Float32s) -> Float32s:
        """Return the scores (c,) with those of scenarios that decide of value made anew."""
        if not any(query.scenario is not None and query.scenario.decides_value for query in self._queries):
            return scores
        scores = scores.copy()
        columns = Columns(self._state.catalogue, self._state.trends)
        for at, query in enumerate(self._queries):
            compiled = query.scenario
            if compiled is None or not compiled.decides_value:
                continue
            mine = self._mine(at)
            frame = self._frame(at, self._candidates.rows[mine])
            valued = value(compiled, frame, frame.rows, scores[mine], columns, query.now_ms)
            scores[mine] = valued.values
            self._valued[at] = valued
        return scores

    def pages(self, fill: Mapping[Fallback, Callable[[int], Rows]], random: np.random.Generator, place: int) -> Decided:
        """Return what is decided of the pages. What a filter drops is marked by `place`."""
        arranged: dict[int, Arrange] = {}
        for at, query in enumerate(self._queries):
            if query.scenario is not None and query.scenario.decides_page and query.candidates is None:
                own = {name: partial(bring, at) for name, bring in fill.items()}
                drawn = (
                    random
                    if query.seed is None or not query.scenario.scenario.explore
                    else np.random.default_rng(query.seed)
                )
                shop = Shop(self._state.catalogue, own, self._small, drawn)
                arranged[at] = partial(arrange, query.scenario, shop, query)
        return Decided(partial(self._drop, place), arranged)

    def keeps(self, at: int, rows: Rows) -> Mask:
        """Return which of rows (n,) the filter of a request lets in."""
        wanted, catalogue = self._queries[at].whole_filter, self._state.catalogue
        mask = np.ones(len(rows), np.bool_)
        for looked_up in wanted.masks:
            mask &= catalogue.fields.derived(catalogue, looked_up)[rows] == KEPT_BY_ALL
        left = np.flatnonzero(mask) if wanted.others else _NONE
        frame = self._frame(at, rows[left])
        for clause in wanted.others:
            mask[left] &= clause.keeps(frame)
        return mask

    def dropped(self, at: int) -> dict[str, int]:
        """Return how many candidates each clause of a request's filter dropped, by `filter: ` and the clause."""
        return self._dropped.get(at, {})

    def reasons(self, at: int, page: Page, reasons: Sequence[str]) -> list[str]:
        """Return the reasons of a page's items with what pins and boosts add to them."""
        compiled, now_ms = self._queries[at].scenario, self._queries[at].now_ms
        if compiled is None:
            return list(reasons)
        told, pinned = list(reasons), self._pinned(compiled, now_ms)
        says = [one for one in compiled.boosts_at(now_ms).all if one.boost.why]
        for boosted in reversed(says):  # the first of several speaks last, and stands first
            held = boosted.condition.keeps(self._frame(at, page.rows))
            for place in np.flatnonzero(held & (page.positions >= 0)).tolist():
                told[place] = f"{boosted.boost.why}; {reasons[place]}"
        for place, row in enumerate(page.rows.tolist() if pinned else ()):
            if row in pinned:
                told[place] = pinned[row] or "picked for you"
        return told

    def explained(self, at: int, page: Page) -> list[dict[str, Any]]:
        """Return what each item's value is made of, and which rule placed it."""
        query, catalogue = self._queries[at], self._state.catalogue
        compiled = query.scenario
        if compiled is None or not query.explain:
            return []
        pinned, first = self._pinned(compiled, query.now_ms), self._mine(at).start
        valued = self._valued.get(at)
        found: list[dict[str, Any]] = []
        for position, row in zip(page.positions.tolist(), page.rows.tolist(), strict=True):
            told: dict[str, Any] = {"item_id": catalogue.item_ids[row]}
            if valued is not None and position >= 0:
                own = position - first
                told["terms"] = {
                    name: {"value": float(valued.terms[place, own]), "weight": float(weight)}
                    for place, (name, weight) in enumerate(zip(TERMS, valued.weights, strict=True))
                    if weight
                }
                told["boosts"] = [
                    {"if": one.condition.text, "multiply": one.boost.multiply, "why": one.boost.why}
                    for one in self._boosts(at, row)
                ]
                told["value"] = float(valued.values[own])
            if row in pinned:
                told["pinned"] = True
            elif position < 0 and position != FROM_PINS:
                told["filled_up"] = True
            found.append(told)
        return found

    def _boosts(self, at: int, row: int) -> list[Boosted]:
        """Return the boosts that an item got."""
        valued = self._valued.get(at)
        if valued is None:
            return []
        frame = self._frame(at, np.array([row], np.int32))
        return [one for one in valued.boosts if one.condition.keeps(frame)[0]]

    def _pinned(self, compiled: Compiled, now_ms: int) -> dict[int, str | None]:
        pins = compiled.pins_at(now_ms)
        if not pins:
            return {}
        rows = self._state.catalogue.rows_of(np.array([item_key(pin.item_id) for pin in pins], np.uint64))
        return {row: pin.why for row, pin in zip(rows.tolist(), pins, strict=True) if row >= 0}

    def _drop(self, place: int, by: NDArray[np.int8]) -> None:
        for at, query in enumerate(self._queries):
            wanted = query.whole_filter
            if not wanted.clauses:
                continue
            mine, counts = self._mine(at), dict[str, int]()
            rows, marks = self._candidates.rows[mine], by[mine]
            for looked_up in wanted.masks:
                failing = self._state.catalogue.fields.derived(self._state.catalogue, looked_up)
                many = np.zeros(len(looked_up.clauses), np.int64)
                if _mark(failing, rows, place, marks, many):
                    of = zip(looked_up.clauses, many.tolist(), strict=True)
                    counts.update((_named(clause), count) for clause, count in of if count)
            frame = self._frame(at, rows)
            for clause in wanted.others:
                dropped = ~clause.keeps(frame) & (marks == KEPT)
                if dropped.any():
                    marks[dropped] = place
                    counts[_named(clause)] = int(dropped.sum())
            self._dropped[at] = counts

    def _small(self, rows: Rows) -> Mask:
        """Return which rows (n,) are of suppliers of the quarter that was shown least."""
        return self._state.suppliers.small(self._state.catalogue, self._state.trends, rows)

    def _mine(self, at: int) -> slice:
        starts = self._candidates.starts
        return slice(int(starts[at]), int(starts[at + 1]))

    def _frame(self, at: int, rows: Rows) -> RequestFrame:
        return RequestFrame(self._state.catalogue, rows, self._queries[at])


@kernel(reads("i1"), reads("i4"), "i8", writes("i1"), writes("i8"))
def _mark(failing: NDArray[np.int8], rows: Rows, place: int, marks: NDArray[np.int8], many: NDArray[np.int64]) -> int:
    """Mark candidates (n,) by `place` where a clause fails, by catalogue row, and no rule dropped them; count them by
    clause. Returns how many there are.
    """
    marked = 0
    for at in range(len(rows)):
        clause = failing[rows[at]]
        if clause >= 0 and marks[at] < 0:
            marks[at] = place
            many[clause] += 1
            marked += 1
    return marked


def _named(clause: Clause) -> str:
    return f"filter: {clause.text}"
