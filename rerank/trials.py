"""One query ranked alone, as often as is wanted, with changes: what says why an item is not on a page.

A trial is the pipeline's own code with nothing left out for lack of time. Nothing of it is learnt from or counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.scenarios import Limit, Sources
from rerank.asked import narrowing
from rerank.gathered import Gathered
from rerank.ladder import Stopwatch
from rerank.pages import Page
from rerank.pipeline import FILTER, Pipeline
from rerank.placements import Ordered, ordered
from rerank.query import PipelineSettings, Query, Seen
from rerank.rules import Mask, Proposed, Rule
from rerank.scenarios.decide import Deciding
from rerank.scenarios.fields import RequestFrame
from rerank.scenarios.page import most_of
from retrieval.candidates import Candidates, Contexts
from retrieval.key_rows import Rows
from retrieval.sources import SOURCES, Batch, Rung
from retrieval.sources.covisitation import Suggested
from retrieval.sources.source import RankedEntries

Float32s = NDArray[np.float32]

NO_SIZES: Final[Mapping[str, int]] = {}


class Ranking(msgspec.Struct, frozen=True):
    """What one query's page is laid out of: its c candidates and their scores, before scenario and rules."""

    query: Query
    settings: PipelineSettings
    contexts: Contexts
    candidates: Candidates
    scores: Float32s
    """(c,)"""


class Change(msgspec.Struct, frozen=True):
    """What is otherwise in a trial than it is, for one catalogue row or for the whole page."""

    row: int = -1
    added: float = 0.0
    """To the row's score."""
    waived: frozenset[str] = frozenset()
    """Rules that are not asked of the row."""
    query: Callable[[Query], Query] | None = None


NO_CHANGE: Final = Change()


class Laid(msgspec.Struct, frozen=True):
    """A page, and what became of every candidate (c,)."""

    query: Query
    page: Page
    by: NDArray[np.int8]
    """(c,) what dropped it: a place among the rules, then the limit per category, then the filter; below 0: nothing."""
    placed: Ordered
    proposed: Proposed


class FoundBy(msgspec.Struct, frozen=True):
    """A source that knows an item: at which place, from 1, and how many it may bring."""

    source: str
    place: int
    size: int
    setting: str
    """The setting that says how many."""
    most: int
    """How many a setting may say at most."""


class Trials(Pipeline):
    """A pipeline whose answers can be looked into. For the thread that ranks."""

    def ranking(self, query: Query, sizes: Mapping[str, int] = NO_SIZES, beside: Rows | None = None) -> Ranking:
        """Rank a query. `sizes`: what sources may bring, by setting, where it is not what serves. `beside`: rows that
        are candidates too, whether or not a source brings them.
        """
        own = query.scenario if query.scenario is not None and query.scenario.ranks_apart else None
        settings = self._settings.model_copy(update={**({} if own is None else own.sources), **sizes})
        ranker, _ = self._ranker_of(own)
        contexts = self._contexts([query], settings, ranker)
        candidates = self._gather([query], contexts, Rung.RERANKED, settings, beside)
        rows = self._features(contexts, candidates, Rung.RERANKED, ranker)
        gathered = Gathered([query], contexts, candidates, Rung.RERANKED, ranker, (), rows)
        return Ranking(query, settings, contexts, candidates, self._score(gathered, Stopwatch(self._clock)))

    def laid(self, ranking: Ranking, change: Change = NO_CHANGE) -> Laid:
        """Lay out the page of a ranking, with what is changed."""
        query = ranking.query if change.query is None else change.query(ranking.query)
        deciding, scores, candidates = None, ranking.scores, ranking.candidates
        if not query.is_plain:
            deciding = Deciding([query], candidates, self._state)
            scores = deciding.scores(scores)
        if change.added:
            scores = scores.copy()
            scores[candidates.rows == change.row] += np.float32(change.added)
        placed = ordered([query], ranking.contexts, candidates, scores, self._catalogue)
        rules = without(self._rules, change.waived, change.row) if change.waived else self._rules
        pages, by, proposed = self._pages(
            [query], ranking.contexts, candidates, placed, deciding, rules=rules, apart=False
        )
        return Laid(query, pages.page(0), by, placed, proposed)

    def dropped_by(self, laid: Laid, row: int) -> list[str]:
        """Name every rule that drops a row from a page, and `filter: ` with every clause that does."""
        one = msgspec.structs.replace(laid.proposed, request=np.zeros(1, np.int32), rows=np.array([row], np.int32))
        named = [rule.__name__ for rule in self._rules if rule(one)[0]]
        return [*named, *(f"{FILTER}: {text}" for text in self.clauses_against(laid.query, row))]

    def clauses_against(self, query: Query, row: int) -> list[str]:
        """Return the clauses of a query's filter that a row does not meet."""
        frame = RequestFrame(self._catalogue, np.array([row], np.int32), query)
        return [clause.text for clause in query.whole_filter.clauses if not clause.keeps(frame)[0]]

    def sources_of(self, ranking: Ranking, row: int) -> list[FoundBy]:
        """Name the sources that would bring a row to a query, were they as large as their settings may be."""
        query = ranking.query
        batch = Batch(
            contexts=ranking.contexts,
            state=self._state,
            given=(),
            listed=np.zeros(1, np.bool_),
            filters=[narrowing(query)],
            shows_seen=np.array([self._asked.seen(query) is not Seen.ALL], np.bool_),
            rung=Rung.RERANKED,
            longest=query.limit,
            now_ms=ranking.contexts.latest_ms,
        )
        return found_by(batch, ranking.settings, row)

    def row_of(self, item_id: str) -> int:
        """Return an item's row; -1 for one that is not here."""
        row = int(self._asked.rows_of([item_id])[0])
        return row if row >= 0 and self._catalogue.alive[row] else -1

    def limits_of(self, query: Query) -> list[Limit]:
        """Return what limits items of a page that are alike; where nothing says so, the placement's own."""
        if query.scenario is not None and query.scenario.scenario.limits is not None:
            return list(query.scenario.scenario.limits)
        most = int(self._asked.wanted([query]).per_category[0])
        return [Limit(field="category", most=most)] if most else []

    def most_of(self, limit: Limit, query: Query) -> int:
        """Return how many items of a page may be alike."""
        return most_of(limit, query.limit)

    @property
    def rules(self) -> int:
        """How many rules there are: what the limit on items that are alike holds back is marked by this."""
        return len(self._rules)


def without(rules: Sequence[Rule], waived: frozenset[str], row: int) -> tuple[Rule, ...]:
    """Return the rules, those of the names passing by a row."""
    return tuple(_passing(rule, row) if rule.__name__ in waived else rule for rule in rules)


def _passing(rule: Rule, row: int) -> Rule:
    @wraps(rule)
    def asked(proposed: Proposed) -> Mask:
        dropped: Mask = rule(proposed) & (proposed.rows != row)
        return dropped

    return asked


def found_by(batch: Batch, settings: PipelineSettings, row: int) -> list[FoundBy]:
    """Return which sources know a row, and at which place, when each is asked for as many as it may be."""
    found: list[FoundBy] = []
    for source in SOURCES:
        for setting in (name for name in source.settings if name in _SIZES):
            most = _most(setting)
            entries = source.bring(batch, settings.model_copy(update={setting: most}))
            place = _place(entries, np.flatnonzero(entries.rows == row), setting)
            if place is not None:
                found.append(FoundBy(source.name, place, getattr(settings, setting), setting, most))
    return found


_NAMES: Final = {"covisit": "covisited", "covisit_recent": "covisited"}
_SIZES: Final = frozenset((*Sources.model_fields, *_NAMES, "window"))
"""Settings that say how many items a source brings."""


def _most(setting: str) -> int:
    """Return the largest number that a setting may say."""
    [most] = [one.le for one in PipelineSettings.model_fields[setting].metadata if hasattr(one, "le")]
    return int(most)


def _place(entries: Any, mine: NDArray[np.intp], setting: str) -> int | None:
    """Return the best place, from 1, of a source's entries `mine` (m,); None where it does not rank them."""
    if not len(mine):
        return None
    if isinstance(entries, Suggested):
        ranks = (entries.recent_rank if setting == "covisit_recent" else entries.rank)[mine]
        return None if np.isnan(ranks).all() else int(np.nanmin(ranks)) + 1
    if isinstance(entries, RankedEntries):
        return int(entries.rank[mine].min()) + 1
    return int(mine[0]) + 1
