"""From a question to an answer: session view, the request's own clicks, the pipeline, the impression.

Every step has a way on. Without Redis the answer comes from memory; without the newest catalogue, or without the
click that was to be waited for, it says so. Only a process that never loaded the catalogue refuses (503).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from time import monotonic, perf_counter, process_time
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace
from prometheus_client.core import Metric

from contracts.api import ColdStart, Placement
from contracts.ids import ItemKey, item_key, partition_of
from contracts.logs import REQUEST_ID
from contracts.sessions import Session
from contracts.tracing import trace_stages
from gateway.admission import Admission
from gateway.ahead import ColumnsAhead
from gateway.answer_records import AnswerKeeper, KeptAnswer
from gateway.answers import recommended, without_margins
from gateway.appends import Appends
from gateway.coalesce import Coalescer
from gateway.cursors import Listed, encode_cursor
from gateway.drift import FeatureWatch
from gateway.experiments import Assigned, Experiments
from gateway.interleaved import mixed
from gateway.metrics import Metrics
from gateway.models import Models
from gateway.named import names_requests
from gateway.problems import Refused, unavailable
from gateway.question import Outcome, Prepared, Question, impression_of, kind_of, query_of, segment_query
from gateway.replica import Replica
from gateway.secret import Secret
from gateway.sessions import Known, current_sessions, without_clicks
from gateway.settings import GatewaySettings
from gateway.shadow import Shadow
from gateway.shown import ShownPages
from gateway.users import NOBODY_KNOWN, KnownUser, Users
from gateway.views import ViewRead, Views
from rerank.kept import Keeping
from rerank.pipeline import Query, Ranked
from rerank.said import Said
from rerank.scenarios.ahead import read_of_items
from rerank.scenarios.compiled import Compiled
from rerank.trials import Trials
from retrieval.catalogue import CatalogueColumns
from session_model.window import WindowRules

log = logging.getLogger("nextclick.gateway")

T = TypeVar("T")

WAIT_SHARE = 0.75
"""Share of the deadline that waiting for the session view and the catalogue may take; the rest is for ranking."""

SESSION_UNAVAILABLE = "session_unavailable"
CATALOGUE_BEHIND = "catalogue_behind"
SCENARIOS_BEHIND = "scenarios_behind"

REHEARSALS = 3

REMEMBERED = 500
"""Answers whose sessions are remembered, for a list of the latest."""


class Asked(NamedTuple):
    """Of one answer that somebody saw: whose it was, and when (epoch ms)."""

    session_id: str
    scenario: str
    at_ms: int


class Recommender:
    """Answers questions. Concurrent ones are ranked as one array batch."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        pipeline: Keeping,
        columns: CatalogueColumns,
        catalogue: Replica,
        scenarios: Replica,
        experiments: Experiments,
        views: Views,
        ahead: ColumnsAhead,
        shown: ShownPages,
        secret: Secret,
        models: Models,
        appends: Appends,
        metrics: Metrics,
        keeper: AnswerKeeper | None,
        turn: asyncio.Lock,
        clock: Callable[[], int],
    ) -> None:
        """`keeper` keeps what answers were made of; None: nobody does. `turn` is held while a batch reads the columns;
        whoever changes them in place holds it meanwhile.
        """
        self._pipeline, self._columns, self._catalogue = pipeline, columns, catalogue
        self._scenarios, self._ahead, self._shown, self._secret = scenarios, ahead, shown, secret
        self._experiments = experiments
        self._users = Users(settings.profile)
        self._views, self._models, self._appends = views, models, appends
        self._metrics, self._clock = metrics, clock
        self._keeper, self._turn = keeper, turn
        self._version = models.version
        self._drift_every, self._drift_window_ms = settings.gateway.drift_every, settings.gateway.drift_window_ms
        self.drift = self._drift_of(models)
        self.latest: deque[Asked] = deque(maxlen=REMEMBERED)
        """The newest answers of this process, the newest last."""
        self.shadow: Shadow | None = None
        """Is told of answers, to have a candidate answer too."""
        self._ids = _ids()
        self._thread = ThreadPoolExecutor(1, "ranking") if settings.gateway.compute_thread else None
        self._partitions = settings.log.partitions
        self._deadline_s = settings.gateway.deadline_ms / 1000
        self._open = not settings.gateway.asks_keys
        self._named, self._traced = names_requests(settings), bool(settings.tracing.endpoint)
        self._admission = Admission(settings.gateway.longest_wait * self._deadline_s)
        self._worked = process_time()
        self._rules = WindowRules(settings.session.max_events, settings.session.idle_gap_ms)
        self._ranking: Coalescer[Prepared, Outcome] = Coalescer(
            self._rank,
            max_weight=settings.gateway.batch,
            max_waiting=settings.gateway.max_waiting,
            observe=metrics.batch("recommendations"),
        )

    async def answer(self, question: Question, *, shown: bool = True) -> dict[str, Any]:
        """Answer one question, as the fields of a RecommendationAnswer. `shown`: somebody sees it, so that it is
        logged as an impression.

        Raises Refused (503) before the catalogue has been loaded, Overloaded when too many questions wait, or this one
        would wait too long.
        """
        if not self._catalogue.loaded:
            raise unavailable("the catalogue is still being loaded: ask another process, or retry")
        self._admission.enter()
        try:
            return await self._answer(question, shown=shown)
        finally:
            self._admission.leave()

    def said_in(self, document: Mapping[str, Any]) -> Said | None:
        """Return what a user's document says of their taste, and what of it nothing is known of."""
        return self._users.said(document, self._columns)

    async def answer_page(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Answer the lists of one page, all of one session, as one batch. Raises what `answer` does."""
        if not self._catalogue.loaded:
            raise unavailable("the catalogue is still being loaded: ask another process, or retry")
        self._admission.enter(len(questions))
        try:
            began, prepared, degraded, stale = await self._prepare(questions, shown=True)
            viewed = perf_counter()
            given = [one for one in prepared if not one.capped]
            with self._given_back(given):
                ranked = iter(await self._rank(given, apart=True) if given else ())
            outcomes = [self._nothing(one) if one.capped else next(ranked) for one in prepared]
        finally:
            self._admission.leave(len(questions))
        return [
            self._told(one, outcome, list(degraded), began, viewed, stale=stale, shown=True)
            for one, outcome in zip(prepared, outcomes, strict=True)
        ]

    async def look(self, question: Question, looks: Sequence[Callable[[Trials, Query], T]]) -> tuple[Prepared, list[T]]:
        """Prepare a question as an answer would, and look into how it is ranked: one look a turn, so that answers wait
        for one at most. Nothing is shown or counted; of an interleaved page the first list is looked into. Raises what
        `answer` does.
        """
        if not self._catalogue.loaded:
            raise unavailable("the catalogue is still being loaded: ask another process, or retry")
        self._admission.enter()
        try:
            _, [prepared], _, _ = await self._prepare([question], shown=False)
        finally:
            self._admission.leave()
        return prepared, [await self._in_turn(partial(self._looked, prepared, one)) for one in looks]

    def _looked(self, prepared: Prepared, look: Callable[[Trials, Query], T]) -> T:
        [session] = current_sessions([prepared.known], self._models.encoder, self._columns, self._rules)
        return look(self._pipeline, self._query(prepared, session))

    async def _in_turn(self, work: Callable[[], T]) -> T:
        """Do something while nobody changes the columns: in a thread, where there is one, or at once."""
        async with self._turn:
            if self._thread is None:
                return work()
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def assignments(
        self, visitor: Question, questions: Callable[[], Sequence[Question]]
    ) -> list[Assigned | Refused | None]:
        """Return what each question of one visitor is part of, as its answer would say; Refused: its scenario is not
        there any more. questions: asked for once this process knows what is published. Raises what `answer` does.
        """
        if not self._catalogue.loaded:
            raise unavailable("the catalogue is still being loaded: ask another process, or retry")
        self._admission.enter()
        try:
            until = asyncio.get_running_loop().time() + WAIT_SHARE * self._deadline_s
            seen, _, user = await self._visitor_of(visitor, until)
            stored = seen.view.session if seen.view is not None else None
            return [self._part_of(question, user, stored) for question in questions()]
        finally:
            self._admission.leave()

    def _part_of(self, question: Question, user: KnownUser, stored: Session | None) -> Assigned | Refused | None:
        try:
            known = NOBODY_KNOWN if question.asked.user_id is None else user
            return self._assigned(question.find(), question, known, stored)[1]
        except Refused as error:
            return error

    async def _answer(self, question: Question, *, shown: bool) -> dict[str, Any]:
        began, [prepared], degraded, stale = await self._prepare([question], shown=shown)
        if self._named and shown:
            prepared = replace(prepared, request_id=prepared.request_id or REQUEST_ID.get())
        viewed = perf_counter()
        with self._given_back([prepared]):
            outcome = self._nothing(prepared) if prepared.capped else await self._ranking.submit(prepared)
        if self.shadow is not None and self.shadow.candidate is not None:
            self._offer(self.shadow, prepared, outcome)
        return self._told(prepared, outcome, degraded, began, viewed, stale=stale, shown=shown)

    @property
    def waiting(self) -> int:
        """Questions that wait to be ranked."""
        return self._ranking.waiting

    def _offer(self, shadow: Shadow, prepared: Prepared, outcome: Outcome) -> None:
        """Have a candidate answer too; not where a scenario names its re-ranker, or two lists were mixed."""
        if prepared.capped or prepared.other is not None or prepared.scenario.scenario.ranker is not None:
            return

        def asked() -> Query:
            return dataclasses.replace(self._query(prepared, outcome.session), deadline=None, explain=False)

        shadow.offer(asked, outcome.ranked, self._models)

    async def _prepare(
        self, questions: Sequence[Question], *, shown: bool
    ) -> tuple[float, list[Prepared], list[str], bool]:
        """Wait for what questions of one session need. Returns when that began, the questions, what could not be had,
        and whether `after` was not applied in time.
        """
        began, due = perf_counter(), monotonic() + self._deadline_s
        until = asyncio.get_running_loop().time() + WAIT_SHARE * self._deadline_s
        seen, degraded, user = await self._visitor_of(questions[0], until)
        stored = seen.view.session if seen.view is not None else None
        prepared: list[Prepared] = []
        for question in questions:
            plain = question.find()
            scenario, assigned = plain, None
            if not question.tried:
                scenario, assigned = self._assigned(plain, question, user, stored, alone=len(questions) == 1)
            tired = await self._tired_of(scenario, question, stored, degraded)
            capped, counted = False, None
            if self._shown.caps(scenario.placement):
                counted = await self._shown.take(_visitor(question), scenario.placement, degraded, counts=shown)
                capped = counted is None
            known = Known(without_clicks(stored, question.forgotten), question.clicks)
            now_ms = self._clock()
            about = (question, known, now_ms, due, scenario, tired, capped, counted, user, plain.name, assigned)
            one = Prepared(*about, request_id=next(self._ids))
            if assigned is not None and assigned.second is not None:
                other_tired = await self._tired_of(assigned.second, question, stored, degraded)
                other = replace(one, scenario=assigned.second, tired_of=other_tired)
                one = replace(one, other=other)
            prepared.append(one)
        return began, prepared, degraded, seen.stale

    async def _tired_of(
        self, scenario: Compiled, question: Question, stored: Session | None, degraded: list[str]
    ) -> tuple[int, ...]:
        """Have the columns that a scenario reads of items made; return what its visitor was shown too often."""
        await self._ahead.catch_up(read_of_items(scenario, self._clock(), question.filter))
        fatigue = scenario.scenario.fatigue
        return () if fatigue is None else await self._shown.tired_of(_visitor(question), fatigue, stored, degraded)

    async def _visitor_of(self, question: Question, until: float) -> tuple[ViewRead, list[str], KnownUser]:
        """Return a question's session view, what could not be had, and what is known of its user."""
        session_id, user_id = question.asked.session_id, question.asked.user_id
        partition = partition_of(session_id, self._partitions)
        seen = await self._views.see(session_id, partition, question.after, until, user_id)
        degraded = await self._degraded(seen, until)
        return seen, degraded, NOBODY_KNOWN if user_id is None else self._users.known(user_id, seen.view, degraded)

    def _assigned(
        self, plain: Compiled, question: Question, user: KnownUser, stored: Session | None, *, alone: bool = True
    ) -> tuple[Compiled, Assigned | None]:
        now_ms = self._clock()
        query, kind = partial(segment_query, question, user, now_ms), partial(kind_of, question, user, stored)
        return self._experiments.assigned(plain, question.asked, query, kind, self._columns, now_ms, alone=alone)

    def _told(
        self,
        prepared: Prepared,
        outcome: Outcome,
        degraded: list[str],
        began: float,
        viewed: float,
        *,
        stale: bool,
        shown: bool,
    ) -> dict[str, Any]:
        """Return the answer to a question, and count it."""
        degraded += outcome.ranked.degraded
        timings = {"session_view": _us(viewed - began), **outcome.ranked.timings_us}
        timings["session_vector"] = timings.get("session_vector", 0) + outcome.fold_us
        timings["total"] = _us(perf_counter() - began)
        self._count(timings, degraded, stale=stale)
        if self._traced:
            trace_stages(timings)
        answer = self._document(prepared, outcome, degraded, timings, shown=shown)
        if stale:
            answer["stale"] = True
        if prepared.capped:
            answer["capped"] = True
        if prepared.question.asked.user_id is not None:
            answer["profile"] = self._users.summary(prepared.user, self._columns, prepared.now_ms)
        if prepared.question.asked.explain:
            answer["dropped_items"] = outcome.ranked.dropped_items
            if explained := outcome.ranked.explained:
                answer["explained"] = explained if self._open else without_margins(explained)
        if outcome.ranked.starved_by:
            answer["starved_by"] = outcome.ranked.starved_by
        if outcome.kept and shown and self._keeper is not None:
            asked = prepared.question.asked
            about = {"fields": asked.fields, "limit": asked.limit, "open": self._open, **self._keeper.about()}
            self._keeper.line.offer(KeptAnswer(answer["request_id"], prepared.now_ms, answer, outcome.kept, about))
        return answer

    def rehearse(self) -> None:
        """Rank once for nobody, so that the first visitor does not wait for what is made at first use."""
        for _ in range(REHEARSALS):
            try:
                self._pipeline.recommend([Query(now_ms=self._clock())])
            except Exception as error:  # a visitor's request will say more
                log.warning("ranking for nobody failed: %r", error)

    def switch(self, models: Models, pipeline: Keeping) -> None:
        """Rank with other models from the next batch on; the columns are theirs already."""
        self._models, self._pipeline, self._version = models, pipeline, models.version
        self.drift = self._drift_of(models)

    def drift_metrics(self) -> Iterator[Metric]:
        """Yield how far features moved since the training of the re-ranker that serves."""
        return self.drift.metrics()

    def _drift_of(self, models: Models) -> FeatureWatch:
        return FeatureWatch(models.ranker, self._drift_every, self._drift_window_ms)

    async def close(self) -> None:
        await self._ranking.close()
        await self._shown.close()
        if self._thread is not None:
            self._thread.shutdown()
        await self._views.close()

    @contextmanager
    def _given_back(self, prepared: Sequence[Prepared]) -> Iterator[None]:
        """What is not answered after all counts for no frequency cap."""
        try:
            yield
        except BaseException:
            for one in prepared:
                self._give_back(one)
            raise

    def _give_back(self, prepared: Prepared) -> None:
        if prepared.counted is not None:
            self._shown.give_back(_visitor(prepared.question), prepared.scenario.placement, prepared.counted)

    async def _degraded(self, seen: ViewRead, until: float) -> list[str]:
        """Catch up with catalogue and scenarios as the view knows them; name what could not be had."""
        if seen.view is None:
            return [SESSION_UNAVAILABLE]
        missing = [SESSION_UNAVAILABLE] if seen.view.unreadable is not None else []
        for replica, end, behind in (
            (self._catalogue, seen.view.catalogue_end, CATALOGUE_BEHIND),
            (self._scenarios, seen.view.scenarios_end, SCENARIOS_BEHIND),
        ):
            if end is None or (replica.number < end and not await _caught_up(replica, end, until)):
                missing.append(behind)
        return missing

    async def _rank(self, batch: Sequence[Prepared], *, apart: bool = False) -> list[Outcome]:
        """Rank a batch while nobody changes the columns: in a thread, where there is one, or at once.

        `apart`: these are the lists of one page.
        """
        async with self._turn:
            began, between = monotonic(), process_time() - self._worked
            if self._thread is None:
                outcomes = self._outcomes(batch, apart)
            else:
                outcomes = await asyncio.get_running_loop().run_in_executor(self._thread, self._outcomes, batch, apart)
            self._worked = process_time()
        backlog = self._ranking.waiting > 0
        self._admission.answered(began, monotonic(), len(batch), between=between, backlog=backlog)
        return outcomes

    def _nothing(self, prepared: Prepared) -> Outcome:
        """Return the outcome of a question that is over its placement's frequency cap: nothing was ranked."""
        return Outcome(prepared.known.session, Ranked([], [], {}), 0, self._version)

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
        sessions = current_sessions(known, self._models.encoder, self._columns, self._rules)
        fold_us = _us(perf_counter() - began)
        queries = [self._query(prepared, session) for prepared, session in zip(batch, sessions, strict=True)]
        if self._keeper is not None and not apart:
            kept = [self._keeper.wants(prepared.request_id) for prepared in batch]
            if any(kept):
                return self._kept(queries, kept, sessions, fold_us)
        ranked = self._pipeline.recommend_apart(queries) if apart else self._pipeline.recommend(queries)
        if (
            queries[0].is_plain
            and queries[0].placement is Placement.HOMEPAGE
            and ranked[0].cold_start is ColdStart.SESSION
        ):
            self.drift.saw(ranked[0].first_scored, batch[0].now_ms)
        return [Outcome(session, one, fold_us, self._version) for session, one in zip(sessions, ranked, strict=True)]

    def _kept(
        self, queries: Sequence[Query], wanted: Sequence[bool], sessions: Sequence[Session | None], fold_us: int
    ) -> list[Outcome]:
        """Rank a batch: what is kept of it alone, the others together."""
        others = iter(self._pipeline.recommend([one for one, kept in zip(queries, wanted, strict=True) if not kept]))
        outcomes: list[Outcome] = []
        for query, is_kept, session in zip(queries, wanted, sessions, strict=True):
            if is_kept:
                ranked, kept = self._pipeline.recommend_kept(query)
                outcomes.append(Outcome(session, ranked, fold_us, self._version, kept=(kept,)))
            else:
                outcomes.append(Outcome(session, next(others), fold_us, self._version))
        return outcomes

    def _query(self, prepared: Prepared, session: Session | None) -> Query:
        encoder, columns = self._models.encoder, self._columns
        return query_of(prepared, session, self._users.taste(prepared.user, encoder, columns, prepared.now_ms))

    def _count(self, timings: dict[str, int], degraded: Sequence[str], *, stale: bool) -> None:
        self._metrics.staged(timings)
        for what in degraded:
            self._metrics.degraded[what] += 1
        self._metrics.stale += stale

    def _cursor(self, prepared: Prepared, keys: Sequence[ItemKey]) -> str | None:
        """Return what brings the items that follow; None at the end of the list."""
        asked = prepared.question.asked
        if len(keys) < asked.limit:
            return None
        listed = Listed(prepared.asked_for, asked.session_id, asked.item_id, asked.filter)
        return encode_cursor(self._secret.value, listed, [*prepared.question.shown_before, *keys])

    def _document(
        self,
        prepared: Prepared,
        outcome: Outcome,
        degraded: list[str],
        timings: dict[str, int],
        *,
        shown: bool,
    ) -> dict[str, Any]:
        request_id = prepared.request_id
        items, session = outcome.ranked.items, outcome.session
        keys = [item_key(item.item_id) for item in items]
        if items and shown and prepared.scenario.scenario.fatigue:
            self._shown.note(_visitor(prepared.question), prepared.now_ms, keys)
        if not items:
            self._give_back(prepared)
        if shown:
            self.latest.append(Asked(prepared.question.asked.session_id, prepared.scenario.name, prepared.now_ms))
        if items and shown:
            margins = self._columns.margins_of(keys)
            self._appends.impressions.offer(impression_of(request_id, prepared, outcome, margins))
        return {
            "request_id": request_id,
            "recommendations": recommended(
                self._columns, prepared.scenario, prepared.question.asked.fields, items, keys
            ),
            "scenario": {"name": prepared.scenario.name, "version": prepared.scenario.version},
            "model_version": outcome.model_version,
            "experiment_id": None if prepared.assigned is None else prepared.assigned.experiment,
            "variant": None if prepared.assigned is None else prepared.assigned.variant,
            "propensity": None if prepared.assigned is None else prepared.assigned.propensity,
            "session": {
                "events": session.events if session is not None else 0,
                "age_ms": max(0, prepared.now_ms - session.last_ms) if session is not None else None,
            },
            "cold_start": outcome.ranked.cold_start,
            "degraded": degraded,
            "timings_us": timings,
            "cursor": self._cursor(prepared, keys),
            "dropped": outcome.ranked.dropped,
        }


def _mixed(prepared: Prepared, first: Outcome, second: Outcome) -> Outcome:
    ranked, teams = mixed(first.ranked, second.ranked, prepared.question.asked.limit, int(prepared.request_id, 16))
    return replace(first, ranked=ranked, teams=teams, kept=(*first.kept, *second.kept))


def _visitor(question: Question) -> str:
    return question.asked.user_id or question.asked.session_id


async def _caught_up(replica: Replica, end: int, until: float) -> bool:
    try:
        async with asyncio.timeout_at(until):
            return await replica.catch_up(end)
    except TimeoutError:
        return False


def _ids() -> Iterator[str]:
    """Yield random ids of 128 bits, 32 hex digits."""
    while True:
        digits = os.urandom(16 * 256).hex()
        for at in range(0, len(digits), 32):
            yield digits[at : at + 32]


def _us(seconds: float) -> int:
    return round(1e6 * seconds)
