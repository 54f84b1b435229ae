"""From queries to answers: one array batch through session vector, retrieval, features, re-ranking, rules, reasons."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from contracts.scenarios import Fallback
from rerank import features
from rerank.apart import lay_out_apart
from rerank.asked import Asked, filter_of, narrowing
from rerank.cold_start import cold_starts, with_groups
from rerank.context import with_visitors
from rerank.feedback import alike_last, penalised
from rerank.gathered import Float32s, Gathered, Tape
from rerank.ladder import Ladder, Rung, Stopwatch
from rerank.mixed import mixed
from rerank.order import retrieval_scores
from rerank.own_items import with_own
from rerank.pages import Filling, Pages, lay_out, newest_rows, trending_rows
from rerank.placements import GROUPS, Ordered, blended, ordered
from rerank.query import PipelineSettings, Query, Ranked, RankedItem, Seen
from rerank.ranker import Ranker
from rerank.reasons import explain
from rerank.rules import RULES, Proposed, Rule, count_dropped, name_dropped, names_of
from rerank.scenarios.compiled import Compiled
from rerank.scenarios.decide import Deciding
from rerank.session_vector import contexts_of
from rerank.site_rules import load_rules
from rerank.taste import with_tastes
from retrieval.candidates import Candidates, Contexts, gather
from retrieval.filters import left_by
from retrieval.key_rows import Rows
from retrieval.popular import PopularLists
from retrieval.serving_state import ServingState
from session_model.encoder import SessionEncoder
from session_model.general import GeneralEncoder

__all__ = ["Pipeline", "PipelineSettings", "Query", "Ranked", "RankedItem", "Seen"]

_FILL_UP_FROM = 200
"""Trending items looked at when the rules starve a page."""
OTHER_RANKER = "other_ranker"
"""What `degraded` says where the re-ranker that a scenario names cannot be had."""
FILTER = "filter"
"""By what a candidate is dropped that a filter does not keep."""
_MOST_NAMED = 100
"""Dropped items named of one rule."""
_RUNG_NAMES = {
    Rung.TRENDING: ["trending"],
    Rung.CO_VISITATION: ["co_visitation"],
    Rung.RETRIEVAL_ORDER: ["retrieval_order"],
    Rung.RERANKED: [],
}


class Pipeline:
    """Composes answers from columns that somebody else keeps up to date. For one thread.

    Without an encoder answers come from co-visitation and trends, re-ranked only by a ranker that was trained without
    one; without a ranker candidates stay in retrieval order. A ranker that was trained with another version of the
    session model is used: ranks and cosines keep most of their meaning. `rules`: None for the built-in ones and those
    that the settings name. `clock` gives seconds, for timings and deadlines. Raises ValueError when the catalogue
    already holds vectors of another model than the encoder's, SettingsError for a rule that cannot be used.
    `rankers` finds the re-ranker that a scenario names; where it cannot be had, or was trained with another session
    model, the usual one ranks (`other_ranker`).
    """

    def __init__(
        self,
        state: ServingState,
        encoder: SessionEncoder | None = None,
        ranker: Ranker | None = None,
        settings: PipelineSettings | None = None,
        *,
        rules: Sequence[Rule] | None = None,
        random: np.random.Generator | None = None,
        clock: Callable[[], float] = time.monotonic,
        rankers: Callable[[str], Ranker | None] | None = None,
    ) -> None:
        if encoder is not None:
            state.catalogue.expect(encoder.version, encoder.dim)
        fits = ranker is not None and (ranker.model_version != 0) == (encoder is not None)
        self._state, self._catalogue = state, state.catalogue
        self._popular = PopularLists(state.trends, state.catalogue)
        self._encoder = encoder
        self._ranker = ranker if fits else None
        self._rankers = rankers
        self._settings = settings or PipelineSettings()
        self._rules = (*RULES, *load_rules(self._settings.rules)) if rules is None else tuple(rules)
        self._names = [*names_of(self._rules), FILTER]
        self._random = random or np.random.default_rng()
        self._clock = clock
        self._asked = Asked(self._catalogue, self._settings)
        self._ladder = Ladder()
        self._tape: Tape | None = None

    def _left_out(self, ranker: Ranker | None) -> list[str]:
        """Return what `degraded` says of the models."""
        if self._encoder is None:
            return ["no_model"]
        if isinstance(self._encoder, GeneralEncoder):
            return ["general_model"]
        return [] if ranker is not None else ["no_ranker"]

    def _ranker_of(self, scenario: Compiled | None) -> tuple[Ranker | None, list[str]]:
        """Return what ranks, and what `degraded` says of the models."""
        name = None if scenario is None else scenario.scenario.ranker
        if name is None:
            return self._ranker, self._left_out(self._ranker)
        found = None if self._rankers is None else self._rankers(name)
        version = 0 if self._encoder is None else self._encoder.version
        if found is not None and found.model_version == version:
            return found, self._left_out(found)
        return self._ranker, [*self._left_out(self._ranker), OTHER_RANKER]

    def recommend(self, queries: Sequence[Query]) -> list[Ranked]:
        """Answer several queries as one batch. The tightest deadline among them counts for all.

        An empty catalogue gives empty answers. A page that the rules starve is filled from what trends, under the same
        rules; only then may one category take more than its share. What is still missing are the newest items.
        """
        if any(query.scenario is not None and query.scenario.ranks_apart for query in queries):
            return self._by_scenario(queries)
        return self._recommend(queries, self._settings) if queries else []

    def recommend_apart(self, queries: Sequence[Query]) -> list[Ranked]:
        """Answer the lists of one page as one batch: no item stands in two lists, earlier ones choose first."""
        if not any(query.scenario is not None and query.scenario.ranks_apart for query in queries):
            return self._recommend(queries, self._settings, apart=True) if queries else []
        answers: list[Ranked] = []
        for query in queries:
            shown = [item.item_id for answer in answers for item in answer.items]
            answers += self.recommend([replace(query, exclude=(*query.exclude, *shown))])
        return answers

    def _by_scenario(self, queries: Sequence[Query]) -> list[Ranked]:
        """Answer queries whose scenarios size the sources, or name a re-ranker: those of one scenario as a batch."""
        together: dict[Compiled | None, list[int]] = {}
        for at, query in enumerate(queries):
            own = query.scenario if query.scenario is not None and query.scenario.ranks_apart else None
            together.setdefault(own, []).append(at)
        answers: dict[int, Ranked] = {}
        for own, places in together.items():
            settings = self._settings if own is None else self._settings.model_copy(update=own.sources)
            found = self._recommend([queries[at] for at in places], settings, own)
            answers.update(zip(places, found, strict=True))
        return [answers[at] for at in range(len(queries))]

    def _recommend(
        self,
        queries: Sequence[Query],
        settings: PipelineSettings,
        own: Compiled | None = None,
        *,
        apart: bool = False,
    ) -> list[Ranked]:
        """Answer one batch; `own` is the scenario that it is all of, where that ranks apart."""
        ranker, missing = self._ranker_of(own)
        watch = Stopwatch(self._clock)
        deadline = min((query.deadline for query in queries if query.deadline is not None), default=math.inf)
        contexts = self._contexts(queries, settings, ranker)
        watch.lap("session_vector")
        rung = self._ladder.retrieve_up_to(deadline - watch.at, len(queries))
        candidates = self._gather(queries, contexts, rung, settings)
        missing = [*missing, *self._state.index.take_missing()]
        watch.lap("retrieve")
        if rung is Rung.RERANKED and not self._ladder.may_rank(deadline - watch.at, len(queries)):
            rung = Rung.RETRIEVAL_ORDER
        rows = self._features(contexts, candidates, rung, ranker)
        watch.lap("features")
        return self._answered(Gathered(queries, contexts, candidates, rung, ranker, missing, rows), watch, apart=apart)

    def _answered(self, gathered: Gathered, watch: Stopwatch, *, apart: bool = False) -> list[Ranked]:
        """Make answers of what was gathered: all that follows reads the candidates, and little of the tables."""
        queries, contexts, candidates = gathered.queries, gathered.contexts, gathered.candidates
        rung = gathered.rung
        if self._tape is not None:
            self._tape.gathered = gathered
        scored = self._score(gathered, watch)
        deciding = None
        if not all(query.is_plain for query in queries):
            deciding = Deciding(queries, candidates, self._state)
            scored = deciding.scores(scored)
            watch.lap("scenario")
        placed = ordered(queries, contexts, candidates, scored, self._catalogue)
        pages, dropped, named = self._lay_out(queries, contexts, candidates, placed, deciding, apart=apart)
        watch.lap("rules")
        items = self._items(pages, contexts, candidates, deciding, placed.groups)
        watch.lap("explain")
        self._learn(watch, rung, len(queries))
        cold = cold_starts(contexts, queries, candidates)
        degraded, timings_us = [*gathered.missing, *_RUNG_NAMES[rung]], watch.timings_us
        starts, on_page = candidates.starts.tolist(), pages.starts.tolist()
        return [
            Ranked(
                items=items[at],
                degraded=list(degraded),
                timings_us=timings_us,
                cold_start=cold[at],
                candidates=starts[at + 1] - starts[at],
                dropped=dropped[at],
                dropped_items=named[at],
                starved_by=self._starved_by(query, len(items[at])),
                scored=gathered.features,
                positions=pages.positions[on_page[at] : on_page[at + 1]],
                explained=[] if deciding is None else deciding.explained(at, pages.page(at)),
            )
            for at, query in enumerate(queries)
        ]

    def _contexts(self, queries: Sequence[Query], settings: PipelineSettings, ranker: Ranker | None) -> Contexts:
        contexts = contexts_of(queries, self._catalogue, self._encoder)
        if any(query.taste is not None for query in queries):
            contexts = with_tastes(contexts, queries, settings.profile_worth)
        if settings.own and any(query.learnt is not None for query in queries):
            contexts = with_own(contexts, queries)
        if any(query.groups for query in queries):
            contexts = with_groups(contexts, queries, self._popular)
        if ranker is not None:
            contexts = with_visitors(contexts, queries, ranker.parts)
        return contexts

    def _gather(
        self,
        queries: Sequence[Query],
        contexts: Contexts,
        rung: Rung,
        settings: PipelineSettings,
        beside: Rows | None = None,
    ) -> Candidates:
        given = [beside if query.candidates is None else self._asked.rows_of(query.candidates) for query in queries]
        filters = [narrowing(query) for query in queries]
        shows_seen = np.array([self._asked.seen(query) is not Seen.ALL for query in queries], np.bool_)
        longest = max(query.limit for query in queries)
        return gather(
            contexts,
            self._state,
            settings,
            given,
            filters,
            shows_seen,
            rung=rung,
            longest=longest,
            beside=beside is not None,
        )

    def _features(
        self, contexts: Contexts, candidates: Candidates, rung: Rung, ranker: Ranker | None
    ) -> Float32s | None:
        if ranker is None or rung is not Rung.RERANKED:
            return None
        return features.compute(contexts, candidates, self._state, ranker.parts)

    def _score(self, gathered: Gathered, watch: Stopwatch) -> Float32s:
        """Score by the ranker, or by retrieval order where there is none, no time, or nothing known of the visitor."""
        queries, contexts, candidates = gathered.queries, gathered.contexts, gathered.candidates
        ranker, rows = gathered.ranker, gathered.features
        scores = np.zeros(0, np.float32)
        if ranker is not None and rows is not None:
            scores = ranker.rank_scores(rows)
            if self._tape is not None:
                self._tape.scores = scores
        if rows is None or 0 in contexts.lengths.tolist():
            unknown = contexts.lengths == 0
            in_order = retrieval_scores(candidates, contexts, self._state)
            scores = in_order if rows is None else np.where(unknown[candidates.request], in_order, scores)
        if contexts.against is not None:
            scores = penalised(scores, candidates, contexts, self._catalogue)
        if any(query.candidates is not None or query.placement.defaults.cart_leads for query in queries):
            scores = blended(
                queries, contexts, candidates, scores, self._settings.search_prior, reranked=rows is not None
            )
        watch.lap("rerank")
        return scores

    def _lay_out(
        self,
        queries: Sequence[Query],
        contexts: Contexts,
        candidates: Candidates,
        placed: Ordered,
        deciding: Deciding | None,
        *,
        apart: bool,
    ) -> tuple[Pages, list[dict[str, int]], list[dict[str, list[str]]]]:
        """Return the pages, and of every request how many candidates each rule dropped, and which if that was asked."""
        pages, by, proposed = self._pages(
            queries, contexts, candidates, placed, deciding, rules=self._rules, apart=apart
        )
        named = [
            name_dropped(by, placed.scores, proposed, at, self._names, _MOST_NAMED) if query.explain else {}
            for at, query in enumerate(queries)
        ]
        dropped = count_dropped(by, proposed.request, len(queries), self._names)
        if deciding is not None:
            for at, counts in enumerate(dropped):
                if counts.pop(FILTER, 0):
                    counts.update(deciding.dropped(at))
        return pages, dropped, named

    def _pages(
        self,
        queries: Sequence[Query],
        contexts: Contexts,
        candidates: Candidates,
        placed: Ordered,
        deciding: Deciding | None,
        *,
        rules: Sequence[Rule],
        apart: bool,
    ) -> tuple[Pages, NDArray[np.int8], Proposed]:
        """Return the pages, which rule dropped each candidate, (c,), and the candidates as the rules saw them."""
        visitors = self._asked.visitors(queries)
        proposed = Proposed(candidates.request, candidates.rows, self._catalogue, contexts, visitors)

        def trending(_: int = 0) -> Rows:
            return self._trending(contexts.latest_ms)

        def newest(at: int) -> Rows:
            return self._newest(queries[at])

        fill: dict[Fallback, Callable[[int], Rows]] = {Fallback.TRENDING: trending, Fallback.NEWEST: newest}

        def alike_behind(at: int, rows: Rows) -> Rows:
            return alike_last(rows, at, contexts, self._catalogue)

        filling, decided = Filling(trending, newest, ordered=alike_behind), None
        if deciding is not None:
            filling = Filling(trending, newest, deciding.keeps, alike_behind)
            decided = deciding.pages(fill, self._random, self._names.index(FILTER))
        lay = lay_out_apart if apart else lay_out
        wanted = self._asked.wanted(queries)
        pages, by = lay(proposed, placed.order, placed.scores, wanted, filling, rules, decided)
        return pages, by, proposed

    def _trending(self, now_ms: int) -> Rows:
        """Return what fills pages up first."""
        rows = trending_rows(self._catalogue, self._state.trends.trending(now_ms, _FILL_UP_FROM))
        if self._tape is not None:
            self._tape.trending = rows
        return rows

    def _newest(self, query: Query) -> Rows:
        """Return what fills a page up at last."""
        rows = newest_rows(self._catalogue, self._asked.found_by(query))
        rows = mixed(rows, self._catalogue.category[rows])
        if self._tape is not None:
            self._tape.newest = rows
        return rows

    def _items(
        self,
        pages: Pages,
        contexts: Contexts,
        candidates: Candidates,
        deciding: Deciding | None,
        groups: NDArray[np.int8] | None,
    ) -> list[list[RankedItem]]:
        reasons = explain(pages, contexts, candidates, self._catalogue)
        if deciding is not None:
            starts = pairwise(pages.starts.tolist())
            reasons = [
                reason
                for at, (begin, end) in enumerate(starts)
                for reason in deciding.reasons(at, pages.page(at), reasons[begin:end])
            ]
        item_ids = self._catalogue.item_ids.at(pages.rows.tolist())
        columns: list[Sequence[object]] = [item_ids, pages.scores.tolist(), reasons]
        if groups is not None:
            ranked = pages.positions >= 0
            grouped = np.where(ranked, groups[np.where(ranked, pages.positions, 0)], 0) if len(groups) else ranked * 0
            columns.append([GROUPS[one] for one in grouped.tolist()])
        items = list(map(RankedItem, *columns))
        return [items[begin:end] for begin, end in pairwise(pages.starts.tolist())]

    def _starved_by(self, query: Query, shown: int) -> dict[str, int]:
        """Say what left a page short. Looks at every item, for short pages only."""
        if shown >= query.limit or query.candidates is not None:
            return {}
        if self._encoder is None:  # nothing is searched: any item that is here may be shown
            here = np.flatnonzero(self._catalogue.alive[: self._catalogue.count]).astype(np.int32)
            return left_by(self._catalogue, here, filter_of(query))
        return self._state.index.left_by(filter_of(query))

    def _learn(self, watch: Stopwatch, rung: Rung, queries: int) -> None:
        seconds = watch.seconds
        if rung >= Rung.RETRIEVAL_ORDER:
            self._ladder.searched(seconds["retrieve"], queries)
        if rung is Rung.RERANKED:
            self._ladder.ranked(seconds["features"] + seconds["rerank"], queries)
        self._ladder.finished(seconds["rules"] + seconds["explain"], queries)
