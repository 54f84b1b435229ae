"""From a question to an answer: session view, the request's own clicks, the pipeline, the impression.

Every step has a way on. Without Redis the answer comes from memory; without the newest catalogue, or without the
click that was to be waited for, it says so. Only a process that never loaded the catalogue refuses (503).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, perf_counter
from typing import Any

import msgspec
import orjson
from pydantic import BaseModel, ConfigDict, Field

from contracts.api import Placement
from contracts.events import SCHEMA_VERSION
from contracts.ids import partition_of
from contracts.plain_events import EventFields
from contracts.plain_requests import PlainRequest
from contracts.sessions import Session
from eventlog.contract import Position, Record
from gateway.admission import Admission
from gateway.appends import Appends
from gateway.coalesce import Coalescer
from gateway.metrics import Metrics
from gateway.models import Models
from gateway.problems import unavailable
from gateway.replica import Replica
from gateway.sessions import Known, current_sessions
from gateway.settings import GatewaySettings
from gateway.views import ViewRead, Views
from rerank.pipeline import Pipeline, Query, Ranked, RankedItem
from retrieval.catalogue import CatalogueColumns
from session_model.window import WindowRules

log = logging.getLogger("nextclick.gateway")

WAIT_SHARE = 0.75
"""Share of the deadline that waiting for the session view and the catalogue may take; the rest is for ranking."""

SESSION_UNAVAILABLE = "session_unavailable"
CATALOGUE_BEHIND = "catalogue_behind"

REHEARSALS = 3


class Visitor(BaseModel):
    """The fields of a request's `context` that are checked at the door (422); all others pass unread."""

    model_config = ConfigDict(frozen=True, strict=True)

    region: str | None = Field(default=None, max_length=64)
    age: int | None = Field(default=None, ge=0, le=150)
    category: str | None = Field(default=None, max_length=300)


NOBODY = Visitor()
"""A visitor of whom the request says nothing."""


class Question(msgspec.Struct, frozen=True):
    """A request, decoded: where it is asked, what it asks, by whom, the clicks that came with it, and `after`."""

    placement: Placement
    asked: PlainRequest
    visitor: Visitor
    clicks: tuple[EventFields, ...]
    after: Position | None


class Prepared(msgspec.Struct, frozen=True):
    """A question with all that had to be waited for. `deadline` is in seconds of `time.monotonic`."""

    question: Question
    known: Known
    now_ms: int
    deadline: float


class Outcome(msgspec.Struct, frozen=True):
    """What the batch made of one question. `fold_us` is the batch's, as the pipeline's timings are."""

    session: Session | None
    ranked: Ranked
    fold_us: int
    model_version: str


class Recommender:
    """Answers questions. Concurrent ones are ranked as one array batch."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        pipeline: Pipeline,
        columns: CatalogueColumns,
        catalogue: Replica,
        views: Views,
        models: Models,
        appends: Appends,
        metrics: Metrics,
        turn: asyncio.Lock,
        clock: Callable[[], int],
    ) -> None:
        """`turn` is held while a batch reads the columns; whoever changes them in place holds it meanwhile."""
        self._pipeline, self._columns, self._catalogue = pipeline, columns, catalogue
        self._views, self._models, self._appends = views, models, appends
        self._metrics, self._clock = metrics, clock
        self._turn = turn
        self._version = models.version
        self._ids = _ids()
        self._thread = ThreadPoolExecutor(1, "ranking") if settings.gateway.compute_thread else None
        self._partitions = settings.log.partitions
        self._deadline_s = settings.gateway.deadline_ms / 1000
        self._admission = Admission(settings.gateway.longest_wait * self._deadline_s)
        self._rules = WindowRules(settings.session.max_events, settings.session.idle_gap_ms)
        self._ranking: Coalescer[Prepared, Outcome] = Coalescer(
            self._rank,
            max_weight=settings.gateway.batch,
            max_waiting=settings.gateway.max_waiting,
            observe=metrics.batch("recommendations"),
        )

    async def answer(self, question: Question) -> dict[str, Any]:
        """Answer one question, as the fields of a RecommendationAnswer.

        Raises Refused (503) before the catalogue has been loaded, Overloaded when too many questions wait, or this one
        would wait too long.
        """
        if not self._catalogue.loaded:
            raise unavailable("the catalogue is still being loaded: ask another process, or retry")
        self._admission.enter()
        try:
            return await self._answer(question)
        finally:
            self._admission.leave()

    async def _answer(self, question: Question) -> dict[str, Any]:
        began, due = perf_counter(), monotonic() + self._deadline_s
        until = asyncio.get_running_loop().time() + WAIT_SHARE * self._deadline_s
        session_id = question.asked.session_id
        seen = await self._views.see(session_id, partition_of(session_id, self._partitions), question.after, until)
        degraded = await self._degraded(seen, until)
        viewed = perf_counter()
        stored = seen.view.session if seen.view is not None else None
        prepared = Prepared(question, Known(stored, question.clicks), self._clock(), due)
        outcome = await self._ranking.submit(prepared)
        degraded += outcome.ranked.degraded
        timings = {"session_view": _us(viewed - began), **outcome.ranked.timings_us}
        timings["session_vector"] = timings.get("session_vector", 0) + outcome.fold_us
        timings["total"] = _us(perf_counter() - began)
        self._count(timings, degraded, stale=seen.stale)
        answer = self._document(prepared, outcome, degraded, timings)
        if seen.stale:
            answer["stale"] = True
        if question.asked.explain:
            answer["dropped_items"] = outcome.ranked.dropped_items
        if outcome.ranked.starved_by:
            answer["starved_by"] = outcome.ranked.starved_by
        return answer

    def rehearse(self) -> None:
        """Rank once for nobody, so that the first visitor does not wait for what is made at first use."""
        for _ in range(REHEARSALS):
            try:
                self._pipeline.recommend([Query(now_ms=self._clock())])
            except Exception as error:  # a visitor's request will say more
                log.warning("ranking for nobody failed: %r", error)

    def switch(self, models: Models, pipeline: Pipeline) -> None:
        """Rank with other models from the next batch on; the columns are theirs already."""
        self._models, self._pipeline, self._version = models, pipeline, models.version

    async def close(self) -> None:
        await self._ranking.close()
        if self._thread is not None:
            self._thread.shutdown()
        await self._views.close()

    async def _degraded(self, seen: ViewRead, until: float) -> list[str]:
        """Catch up with the catalogue as the view knows it; name what could not be had."""
        if seen.view is None:
            return [SESSION_UNAVAILABLE]
        missing = [SESSION_UNAVAILABLE] if seen.view.unreadable is not None else []
        end = seen.view.catalogue_end
        if end is None:
            return [*missing, CATALOGUE_BEHIND]
        if self._catalogue.number >= end:
            return missing
        try:
            async with asyncio.timeout_at(until):
                caught_up = await self._catalogue.catch_up(end)
        except TimeoutError:
            caught_up = False
        return missing if caught_up else [*missing, CATALOGUE_BEHIND]

    async def _rank(self, batch: Sequence[Prepared]) -> list[Outcome]:
        """Rank a batch while nobody changes the columns: in a thread, where there is one, or at once."""
        async with self._turn:
            began = monotonic()
            if self._thread is None:
                outcomes = self._outcomes(batch)
            else:
                outcomes = await asyncio.get_running_loop().run_in_executor(self._thread, self._outcomes, batch)
        self._admission.answered(began, monotonic(), len(batch))
        return outcomes

    def _outcomes(self, batch: Sequence[Prepared]) -> list[Outcome]:
        began = perf_counter()
        known = [prepared.known for prepared in batch]
        sessions = current_sessions(known, self._models.encoder, self._columns, self._rules)
        fold_us = _us(perf_counter() - began)
        queries = [_query(prepared, session) for prepared, session in zip(batch, sessions, strict=True)]
        ranked = self._pipeline.recommend(queries)
        return [Outcome(session, one, fold_us, self._version) for session, one in zip(sessions, ranked, strict=True)]

    def _count(self, timings: dict[str, int], degraded: Sequence[str], *, stale: bool) -> None:
        self._metrics.staged(timings)
        for what in degraded:
            self._metrics.degraded[what] += 1
        self._metrics.stale += stale

    def _document(
        self, prepared: Prepared, outcome: Outcome, degraded: list[str], timings: dict[str, int]
    ) -> dict[str, Any]:
        request_id = next(self._ids)
        items, session = outcome.ranked.items, outcome.session
        if items:
            self._appends.impressions.offer(_impression(request_id, prepared, items))
        return {
            "request_id": request_id,
            "recommendations": [
                {"product_id": item_id, "score": score, "reason": reason, "position": position}
                for position, (item_id, score, reason) in enumerate(items, 1)
            ],
            "model_version": outcome.model_version,
            "experiment_id": None,
            "session": {
                "events": session.events if session is not None else 0,
                "age_ms": max(0, prepared.now_ms - session.last_ms) if session is not None else None,
            },
            "degraded": degraded,
            "timings_us": timings,
            "dropped": outcome.ranked.dropped,
        }


def _ids() -> Iterator[str]:
    """Yield random ids of 128 bits, 32 hex digits."""
    while True:
        digits = os.urandom(16 * 256).hex()
        for at in range(0, len(digits), 32):
            yield digits[at : at + 32]


def _query(prepared: Prepared, session: Session | None) -> Query:
    question, asked = prepared.question, prepared.question.asked
    return Query(
        now_ms=prepared.now_ms,
        placement=question.placement,
        session=session,
        item_id=asked.item_id,
        limit=asked.limit,
        region=question.visitor.region,
        age=question.visitor.age,
        category=question.visitor.category,
        exclude=tuple(asked.exclude or ()),
        candidates=tuple(asked.candidates) if asked.candidates is not None else None,
        deadline=prepared.deadline,
        explain=asked.explain,
        context=asked.context or {},
    )


def _impression(request_id: str, prepared: Prepared, items: Sequence[RankedItem]) -> Record:
    """Encode what was shown as an event, in the one event schema."""
    question, asked = prepared.question, prepared.question.asked
    document: dict[str, Any] = {
        "v": SCHEMA_VERSION,
        "event_id": f"impression-{request_id}",
        "type": "impression",
        "session_id": asked.session_id,
        "ts": prepared.now_ms,
        "request_id": request_id,
        "items": [item.item_id for item in items],
        "context": {"placement": question.placement.value},
    }
    if asked.user_id is not None:
        document["user_id"] = asked.user_id
    return Record(asked.session_id, orjson.dumps(document))


def _us(seconds: float) -> int:
    return round(1e6 * seconds)
