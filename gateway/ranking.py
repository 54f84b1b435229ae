"""Ranking questions: concurrent ones as one array batch, the lists of a page as one, or one to be looked into."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic, perf_counter, process_time
from typing import TypeVar

from msgspec.structs import replace
from prometheus_client.core import Metric

from contracts.api import ColdStart, Placement
from contracts.sessions import Session
from gateway.admission import Admission
from gateway.answer_records import AnswerKeeper
from gateway.coalesce import Coalescer
from gateway.drift import FeatureWatch
from gateway.interleaved import mixed
from gateway.metrics import Metrics
from gateway.models import Models
from gateway.question import Outcome, Prepared, query_of
from gateway.sessions import current_sessions
from gateway.settings import GatewaySettings
from gateway.users import Users
from rerank.kept import Keeping
from rerank.pipeline import Query, Ranked
from rerank.trials import Trials
from retrieval.catalogue import CatalogueColumns
from session_model.window import WindowRules

log = logging.getLogger("nextclick.gateway")

T = TypeVar("T")

REHEARSALS = 3


class Ranking:
    """Ranks with the models that serve. Belongs to the event loop of its process."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        pipeline: Keeping,
        models: Models,
        columns: CatalogueColumns,
        users: Users,
        keeper: AnswerKeeper | None,
        admission: Admission,
        metrics: Metrics,
        turn: asyncio.Lock,
        clock: Callable[[], int],
    ) -> None:
        """`keeper` says of which answers it is kept what they were made of; None: of none. `turn` is held while a batch
        reads the columns; whoever changes them in place holds it meanwhile.
        """
        options = settings.gateway
        self._pipeline, self.models, self._columns = pipeline, models, columns
        self._users, self._keeper, self._admission = users, keeper, admission
        self._turn, self._clock = turn, clock
        self._rules = WindowRules(settings.session.max_events, settings.session.idle_gap_ms)
        self._drift_every, self._drift_window_ms = options.drift_every, options.drift_window_ms
        self.drift = self._drift_of(models)
        """How far features moved since the training of the re-ranker that serves."""
        self._thread = ThreadPoolExecutor(1, "ranking") if options.compute_thread else None
        self._worked = process_time()
        self._batches: Coalescer[Prepared, Outcome] = Coalescer(
            self._rank,
            max_weight=options.batch,
            max_waiting=options.max_waiting,
            observe=metrics.batch("recommendations"),
        )

    @property
    def waiting(self) -> int:
        """Questions that wait to be ranked."""
        return self._batches.waiting

    def rank(self, prepared: Prepared) -> asyncio.Future[Outcome]:
        """Rank a question, in a batch with those that come meanwhile. Raises Overloaded when too many wait."""
        return self._batches.submit(prepared)

    async def rank_page(self, prepared: Sequence[Prepared]) -> list[Outcome]:
        """Rank the lists of one page as one batch, laid out apart; those that are capped are empty."""
        return await self._rank_given(prepared, apart=True)

    async def rank_each(self, prepared: Sequence[Prepared]) -> list[Outcome]:
        """Rank questions of different visitors as one batch; those that are capped are empty."""
        return await self._rank_given(prepared, apart=False)

    async def look(self, prepared: Prepared, look: Callable[[Trials, Query], T]) -> T:
        """Look into how a question is ranked, in a turn of its own."""
        async with self._turn:
            return await self._working(partial(self._looked, prepared, look))

    def nothing(self, prepared: Prepared) -> Outcome:
        """Return the outcome of a question that is over its placement's frequency cap: nothing was ranked."""
        return Outcome(prepared.known.session, Ranked([], [], {}), 0, self.models.version)

    def query(self, prepared: Prepared, session: Session | None) -> Query:
        """Return what the pipeline is asked."""
        encoder, columns = self.models.encoder, self._columns
        return query_of(prepared, session, self._users.taste(prepared.user, encoder, columns, prepared.now_ms))

    def rehearse(self) -> None:
        """Rank for nobody, so that the first visitor does not wait for what is made at first use."""
        for _ in range(REHEARSALS):
            try:
                self._pipeline.recommend([Query(now_ms=self._clock())])
            except Exception as error:  # a visitor's request will say more
                log.warning("ranking for nobody failed: %r", error)

    def switch(self, models: Models, pipeline: Keeping) -> None:
        """Rank with other models from the next batch on; the columns are theirs already."""
        self.models, self._pipeline = models, pipeline
        self.drift = self._drift_of(models)

    def drift_metrics(self) -> Iterator[Metric]:
        """Yield how far features moved, by the re-ranker that serves when it is asked."""
        return self.drift.metrics()

    async def close(self) -> None:
        """Rank what waits, then no more."""
        await self._batches.close()
        if self._thread is not None:
            self._thread.shutdown()

    def _drift_of(self, models: Models) -> FeatureWatch:
        return FeatureWatch(models.ranker, self._drift_every, self._drift_window_ms)

    async def _working(self, work: Callable[[], T]) -> T:
        """Do something in the thread, where there is one, or at once. Hold the turn."""
        if self._thread is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _rank_given(self, prepared: Sequence[Prepared], *, apart: bool) -> list[Outcome]:
        given = [one for one in prepared if not one.capped]
        ranked = iter(await self._rank(given, apart=apart) if given else ())
        return [self.nothing(one) if one.capped else next(ranked) for one in prepared]

    def _looked(self, prepared: Prepared, look: Callable[[Trials, Query], T]) -> T:
        [session] = current_sessions([prepared.known], self.models.encoder, self._columns, self._rules)
        return look(self._pipeline, self.query(prepared, session))

    async def _rank(self, batch: Sequence[Prepared], *, apart: bool = False) -> list[Outcome]:
        """Rank a batch while nobody changes the columns. `apart`: these are the lists of one page."""
        async with self._turn:
            began, between = monotonic(), process_time() - self._worked
            outcomes = await self._working(partial(self._outcomes, batch, apart))
            self._worked = process_time()
        backlog = self._batches.waiting > 0
        self._admission.answered(began, monotonic(), len(batch), between=between, backlog=backlog)
        return outcomes

    def _outcomes(self, batch: Sequence[Prepared], apart: bool) -> list[Outcome]:
        """Rank a batch, the other lists of interleaved pages in it; mix these pages."""
        others = [one.other for one in batch if one.other is not None]
        outcomes = self._ranked([*batch, *others], apart)
        if not others:
            return outcomes
        found, second = outcomes[: len(batch)], iter(outcomes[len(batch) :])
        return [
            outcome if one.other is None else _mixed(one, outcome, next(second))
            for one, outcome in zip(batch, found, strict=True)
        ]

    def _ranked(self, batch: Sequence[Prepared], apart: bool) -> list[Outcome]:
        began = perf_counter()
        known = [prepared.known for prepared in batch]
        sessions = current_sessions(known, self.models.encoder, self._columns, self._rules)
        fold_us = round(1e6 * (perf_counter() - began))
        queries = [self.query(prepared, session) for prepared, session in zip(batch, sessions, strict=True)]
        if self._keeper is not None and not apart:
            kept = [self._keeper.wants(prepared.request_id) for prepared in batch]
            if any(kept):
                return self._kept(queries, kept, sessions, fold_us)
        ranked = self._pipeline.recommend_apart(queries) if apart else self._pipeline.recommend(queries)
        self._watch(queries[0], ranked[0])
        version = self.models.version
        return [Outcome(session, one, fold_us, version) for session, one in zip(sessions, ranked, strict=True)]

    def _watch(self, query: Query, ranked: Ranked) -> None:
        """Have the features of a home page compared with training's, where it is plain and of a session with clicks."""
        if query.is_plain and query.placement is Placement.HOMEPAGE and ranked.cold_start is ColdStart.SESSION:
            self.drift.saw(ranked.first_scored, query.now_ms)

    def _kept(
        self, queries: Sequence[Query], wanted: Sequence[bool], sessions: Sequence[Session | None], fold_us: int
    ) -> list[Outcome]:
        """Rank a batch: what is kept of it alone, the others together."""
        others = iter(self._pipeline.recommend([one for one, kept in zip(queries, wanted, strict=True) if not kept]))
        version = self.models.version
        outcomes: list[Outcome] = []
        for query, is_kept, session in zip(queries, wanted, sessions, strict=True):
            if is_kept:
                ranked, kept = self._pipeline.recommend_kept(query)
                outcomes.append(Outcome(session, ranked, fold_us, version, kept=(kept,)))
            else:
                outcomes.append(Outcome(session, next(others), fold_us, version))
        return outcomes


def _mixed(prepared: Prepared, first: Outcome, second: Outcome) -> Outcome:
    ranked, teams = mixed(first.ranked, second.ranked, prepared.question.asked.limit, int(prepared.request_id, 16))
    return replace(first, ranked=ranked, teams=teams, kept=(*first.kept, *second.kept))
