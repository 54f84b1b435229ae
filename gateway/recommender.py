"""From a question to an answer: what is waited for, the ranking, the answer's document, the impression.

Every step has a way on. Without Redis the answer comes from memory; without the newest catalogue, or without the
click that was to be waited for, it says so. Only a process that never loaded the catalogue refuses (503).
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from contracts.ids import ItemKey, item_key
from contracts.tracing import trace_stages
from gateway.admission import Admission
from gateway.ahead import ColumnsAhead
from gateway.answer_records import AnswerKeeper, KeptAnswer
from gateway.answers import recommended, without_margins
from gateway.appends import Appends
from gateway.capsules import Capsules
from gateway.consents import Consents
from gateway.cursors import Listed, encode_cursor
from gateway.experiments import Assigned, Experiments
from gateway.metrics import Metrics
from gateway.models import Models
from gateway.preparing import Preparing, Ready
from gateway.problems import Refused, unavailable
from gateway.question import Outcome, Prepared, Question, impression_of, visitor_of
from gateway.ranking import Ranking
from gateway.secret import Secret
from gateway.settings import GatewaySettings
from gateway.shadow import Shadow
from gateway.sharded_replica import Followed
from gateway.shown import ShownPages
from gateway.users import Users
from gateway.views import Views
from rerank.kept import Keeping
from rerank.pipeline import Query
from rerank.said import Said
from rerank.trials import Trials
from retrieval.catalogue import CatalogueColumns

T = TypeVar("T")

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
        catalogue: Followed,
        scenarios: Followed,
        experiments: Experiments,
        views: Views,
        ahead: ColumnsAhead,
        shown: ShownPages,
        secret: Secret,
        models: Models,
        appends: Appends,
        metrics: Metrics,
        keeper: AnswerKeeper | None,
        consents: Consents,
        capsules: Capsules,
        turn: asyncio.Lock,
        clock: Callable[[], int],
    ) -> None:
        """`keeper` keeps what answers were made of; None: nobody does. `turn` is held while a batch reads the columns;
        whoever changes them in place holds it meanwhile.
        """
        options = settings.gateway
        self._columns, self._catalogue, self._views, self._shown = columns, catalogue, views, shown
        self._secret, self._appends, self._metrics, self.keeper = secret, appends, metrics, keeper
        self._capsules = capsules
        self.users = Users(settings.profile)
        """What requests know of their users."""
        self._admission = Admission(options.longest_wait * options.deadline_ms / 1000)
        self._preparing = Preparing(
            settings,
            columns=columns,
            catalogue=catalogue,
            scenarios=scenarios,
            experiments=experiments,
            views=views,
            ahead=ahead,
            shown=shown,
            users=self.users,
            consents=consents,
            clock=clock,
        )
        self.ranking = Ranking(
            settings,
            pipeline=pipeline,
            models=models,
            columns=columns,
            users=self.users,
            keeper=keeper,
            admission=self._admission,
            metrics=metrics,
            turn=turn,
            clock=clock,
        )
        self.latest: deque[Asked] = deque(maxlen=REMEMBERED)
        """The newest answers of this process, the newest last."""
        self.shadow: Shadow | None = None
        """Is told of answers, to have a candidate answer too."""
        self._open = not options.asks_keys
        self._traced = bool(settings.tracing.endpoint)

    async def answer(self, question: Question, *, shown: bool = True) -> dict[str, Any]:
        """Answer one question, as the fields of a RecommendationAnswer. `shown`: somebody sees it, so that it is
        logged as an impression.

        Raises Refused (503) before the catalogue has been loaded, Overloaded when too many questions wait, or this one
        would wait too long.
        """
        with self._admitted():
            ready = await self._preparing.prepare([question], shown=shown)
            [prepared] = ready.prepared
            viewed = perf_counter()
            with self._given_back([prepared]):
                outcome = self.ranking.nothing(prepared) if prepared.capped else await self.ranking.rank(prepared)
            if self.shadow is not None and self.shadow.candidate is not None:
                self._offer(self.shadow, prepared, outcome)
            return self._told(prepared, outcome, ready, viewed, shown=shown)

    async def answer_page(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Answer the lists of one page, all of one session, as one batch. Raises what `answer` does."""
        with self._admitted(len(questions)):
            ready = await self._preparing.prepare(questions, shown=True)
            viewed = perf_counter()
            with self._given_back([one for one in ready.prepared if not one.capped]):
                outcomes = await self.ranking.rank_page(ready.prepared)
        return [
            self._told(one, outcome, ready, viewed, shown=True)
            for one, outcome in zip(ready.prepared, outcomes, strict=True)
        ]

    async def answer_each(
        self,
        asked: Sequence[tuple[Question, str]],
        refuse: Callable[[Prepared], str | None],
        *,
        shown: bool,
    ) -> list[dict[str, Any] | str]:
        """Answer questions of many visitors as one batch, each under the request id beside it, and without a deadline:
        nobody waits for them. `refuse` returns why one is not to be answered, which stands in place of its answer; None
        answers it. Raises what `answer` does.
        """
        with self._admitted(len(asked)):
            ready = await asyncio.gather(*(self._preparing.prepare([one], shown=shown) for one, _ in asked))
            prepared = [_under(own.prepared[0], request_id) for own, (_, request_id) in zip(ready, asked, strict=True)]
            refused = [refuse(one) for one in prepared]
            given = [one for one, why in zip(prepared, refused, strict=True) if why is None]
            for one, why in zip(prepared, refused, strict=True):
                if why is not None:
                    self._give_back(one)
            began = perf_counter()
            with self._given_back(given):
                outcomes = iter(await self.ranking.rank_each(given))
            return [
                self._told(one, next(outcomes), own, began, shown=shown) if why is None else why
                for one, own, why in zip(prepared, ready, refused, strict=True)
            ]

    async def look(self, question: Question, looks: Sequence[Callable[[Trials, Query], T]]) -> tuple[Prepared, list[T]]:
        """Prepare a question as an answer would, and look into how it is ranked: one look a turn, so that answers wait
        for one at most. Nothing is shown or counted; of an interleaved page the first list is looked into. Raises what
        `answer` does.
        """
        with self._admitted():
            [prepared] = (await self._preparing.prepare([question], shown=False)).prepared
        return prepared, [await self.ranking.look(prepared, one) for one in looks]

    async def assignments(
        self, visitor: Question, questions: Callable[[], Sequence[Question]]
    ) -> list[Assigned | Refused | None]:
        """Return what each question of one visitor is part of, as its answer would say; Refused: its scenario is not
        there any more. questions: asked for once this process knows what is published. Raises what `answer` does.
        """
        with self._admitted():
            return await self._preparing.assignments(visitor, questions)

    def said_in(self, document: Mapping[str, Any]) -> Said | None:
        """Return what a user's document says of their taste, and what of it nothing is known of."""
        return self.users.said(document, self._columns)

    async def close(self) -> None:
        """Answer what was taken."""
        await self.ranking.close()
        await self._shown.close()
        await self._views.close()

    @contextmanager
    def _admitted(self, count: int = 1) -> Iterator[None]:
        """Take so many questions in, that are answered together. Raises what `answer` does."""
        if not self._catalogue.loaded:
            raise unavailable("the catalogue is still being loaded: ask another process, or retry")
        self._admission.enter(count)
        try:
            yield
        finally:
            self._admission.leave(count)

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
            self._shown.give_back(visitor_of(prepared.question), prepared.scenario.placement, prepared.counted)

    def _offer(self, shadow: Shadow, prepared: Prepared, outcome: Outcome) -> None:
        """Have a candidate answer too; not where a scenario names its re-ranker, two lists were mixed, or without
        consent.
        """
        if (
            prepared.capped
            or not prepared.question.kept
            or prepared.other is not None
            or prepared.scenario.scenario.ranker is not None
        ):
            return

        def asked() -> Query:
            return dataclasses.replace(self.ranking.query(prepared, outcome.session), deadline=None, explain=False)

        shadow.offer(asked, outcome.ranked, self.ranking.models)

    def _told(
        self, prepared: Prepared, outcome: Outcome, ready: Ready, viewed_s: float, *, shown: bool
    ) -> dict[str, Any]:
        """Return the answer to a question, and count it. `viewed_s`: when its ranking began, by `time.perf_counter`."""
        degraded = [*ready.degraded, *outcome.ranked.degraded]
        timings = {"session_view": _us(viewed_s - ready.began_s), **outcome.ranked.timings_us}
        timings["session_vector"] = timings.get("session_vector", 0) + outcome.fold_us
        timings["total"] = _us(perf_counter() - ready.began_s)
        self._count(timings, degraded, stale=ready.stale)
        if self._traced:
            trace_stages(timings)
        answer = self._document(prepared, outcome, degraded, timings, shown=shown)
        if ready.stale:
            answer["stale"] = True
        if prepared.capped:
            answer["capped"] = True
        if prepared.question.asked.user_id is not None:
            answer["profile"] = self.users.summary(prepared.user, self._columns, prepared.now_ms)
        if prepared.question.asked.explain:
            answer["dropped_items"] = outcome.ranked.dropped_items
            if explained := outcome.ranked.explained:
                answer["explained"] = explained if self._open else without_margins(explained)
        if outcome.ranked.starved_by:
            answer["starved_by"] = outcome.ranked.starved_by
        if prepared.question.asked.capsule is not None:
            answer["capsule"] = self._capsules.close(outcome.session)
        if not prepared.question.kept:
            answer["not_kept"] = True
        elif outcome.kept and shown and self.keeper is not None:
            self._keep(self.keeper, prepared, outcome, answer)
        return answer

    def _keep(self, keeper: AnswerKeeper, prepared: Prepared, outcome: Outcome, answer: dict[str, Any]) -> None:
        """Keep what an answer was made of, beside it."""
        asked = prepared.question.asked
        about = {"fields": asked.fields, "limit": asked.limit, "open": self._open, **keeper.about()}
        keeper.line.offer(KeptAnswer(answer["request_id"], prepared.now_ms, answer, outcome.kept, about))

    def _count(self, timings: dict[str, int], degraded: Sequence[str], *, stale: bool) -> None:
        self._metrics.staged(timings)
        for what in degraded:
            self._metrics.degraded[what] += 1
        self._metrics.stale += stale

    def _document(
        self,
        prepared: Prepared,
        outcome: Outcome,
        degraded: list[str],
        timings: dict[str, int],
        *,
        shown: bool,
    ) -> dict[str, Any]:
        """Return what every answer has; where somebody sees it, remember and log that it was shown."""
        items, session, assigned = outcome.ranked.items, outcome.session, prepared.assigned
        keys = [item_key(item.item_id) for item in items]
        if not items:
            self._give_back(prepared)
        if shown and prepared.question.kept:
            self._note(prepared, outcome, keys)
        return {
            "request_id": prepared.request_id,
            "recommendations": recommended(
                self._columns, prepared.scenario, prepared.question.asked.fields, items, keys
            ),
            "scenario": {"name": prepared.scenario.name, "version": prepared.scenario.version},
            "model_version": outcome.model_version,
            "experiment_id": None if assigned is None else assigned.experiment,
            "variant": None if assigned is None else assigned.variant,
            "propensity": None if assigned is None else assigned.propensity,
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

    def _note(self, prepared: Prepared, outcome: Outcome, keys: Sequence[ItemKey]) -> None:
        """Remember whom an answer was shown, and log what of it: items that are fatigued, and the impression."""
        asked, now_ms = prepared.question.asked, prepared.now_ms
        self.latest.append(Asked(asked.session_id, prepared.scenario.name, now_ms))
        if not keys:
            return
        if prepared.scenario.scenario.fatigue:
            self._shown.note(visitor_of(prepared.question), now_ms, keys)
        margins = self._columns.margins_of(keys)
        self._appends.impressions.offer(impression_of(prepared.request_id, prepared, outcome, margins))

    def _cursor(self, prepared: Prepared, keys: Sequence[ItemKey]) -> str | None:
        """Return what brings the items that follow; None at the end of the list."""
        question, asked = prepared.question, prepared.question.asked
        if len(keys) < asked.limit:
            return None
        listed = Listed(prepared.asked_for, question.listed_for or asked.session_id, asked.item_id, asked.filter)
        return encode_cursor(self._secret.value, listed, [*question.shown_before, *keys])


def _under(prepared: Prepared, request_id: str) -> Prepared:
    """Return a question of a batch that nobody waits for, under its own request id."""
    other = None if prepared.other is None else _under(prepared.other, request_id)
    return replace(prepared, request_id=request_id, deadline=math.inf, other=other)


def _us(seconds: float) -> int:
    return round(1e6 * seconds)
