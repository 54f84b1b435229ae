"""What is waited for before questions are ranked: the session's view, the tables as it knows them, user, experiments,
and frequency caps. Every step has a way on: what could not be had in time is named, not waited for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import monotonic, perf_counter
from typing import Final, NamedTuple

from msgspec.structs import replace

from contracts.ids import partition_of
from contracts.logs import REQUEST_ID
from contracts.sessions import Session
from gateway.ahead import ColumnsAhead
from gateway.consents import Consents, without_consent
from gateway.experiments import Assigned, Experiments
from gateway.problems import Refused
from gateway.question import Prepared, Question, kind_of, segment_query, visitor_of
from gateway.sessions import Known, without_clicks
from gateway.settings import GatewaySettings
from gateway.sharded_replica import Followed
from gateway.shown import ShownPages
from gateway.users import NOBODY_KNOWN, KnownUser, Users
from gateway.views import ViewRead, Views
from rerank.scenarios.ahead import read_of_items
from rerank.scenarios.compiled import Compiled
from retrieval.catalogue import CatalogueColumns

WAIT_SHARE: Final = 0.75
"""Share of the deadline that waiting for the session view and the catalogue may take; the rest is for ranking."""

SESSION_UNAVAILABLE: Final = "session_unavailable"
CATALOGUE_BEHIND: Final = "catalogue_behind"
SCENARIOS_BEHIND: Final = "scenarios_behind"


class Ready(NamedTuple):
    """Questions of one session, ready to be ranked. `began_s` by `time.perf_counter`; `degraded` names what could not
    be had; `stale`: `after` was not applied in time.
    """

    began_s: float
    prepared: list[Prepared]
    degraded: list[str]
    stale: bool


class Preparing:
    """Belongs to the event loop of its process."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        columns: CatalogueColumns,
        catalogue: Followed,
        scenarios: Followed,
        experiments: Experiments,
        views: Views,
        ahead: ColumnsAhead,
        shown: ShownPages,
        users: Users,
        consents: Consents,
        clock: Callable[[], int],
    ) -> None:
        self._consents = consents
        self._columns, self._catalogue, self._scenarios = columns, catalogue, scenarios
        self._experiments, self._views, self._ahead = experiments, views, ahead
        self._shown, self._users, self._clock = shown, users, clock
        self._partitions = settings.log.partitions
        self._deadline_s = settings.gateway.deadline_ms / 1000
        self._ids = _ids()

    async def prepare(self, questions: Sequence[Question], *, shown: bool) -> Ready:
        """Wait for what questions of one session need. `shown`: somebody sees the answers, so that caps count them."""
        began, due = perf_counter(), monotonic() + self._deadline_s
        seen, degraded, user = await self._visitor(questions[0])
        document = user.said.fields
        stored = seen.view.session if seen.view is not None else None
        if questions[0].kept and self._consents.withdrew(user.said.fields, stored):
            questions, stored, user = [without_consent(one) for one in questions], None, NOBODY_KNOWN
        if questions[0].brings_session:
            stored = questions[0].capsule
        named = REQUEST_ID.get() if shown and len(questions) == 1 else ""  # as the lines of the log name it
        prepared: list[Prepared] = []
        for question in questions:
            plain = question.find()
            scenario, assigned = plain, None
            if question.kept and not question.tried:
                scenario, assigned = self._assigned(plain, question, user, stored, alone=len(questions) == 1)
            tired = await self._tired_of(scenario, question, stored, degraded)
            capped, counted = False, None
            if question.kept and self._shown.caps(scenario.placement):
                counted = await self._shown.take(visitor_of(question), scenario.placement, degraded, counts=shown)
                capped = counted is None
            known = Known(without_clicks(stored, question.forgotten), question.clicks)
            now_ms = self._clock()
            about = (question, known, now_ms, due, scenario, tired, capped, counted, user, plain.name, assigned)
            one = Prepared(*about, request_id=named or next(self._ids), document=document)
            if assigned is not None and assigned.second is not None:
                other_tired = await self._tired_of(assigned.second, question, stored, degraded)
                one = replace(one, other=replace(one, scenario=assigned.second, tired_of=other_tired))
            prepared.append(one)
        return Ready(began, prepared, degraded, seen.stale)

    async def assignments(
        self, visitor: Question, questions: Callable[[], Sequence[Question]]
    ) -> list[Assigned | Refused | None]:
        """Return what each question of one visitor is part of, as its answer would say; Refused: its scenario is not
        there any more. questions: asked for once this process knows what is published.
        """
        seen, _, user = await self._visitor(visitor)
        stored = seen.view.session if seen.view is not None else None
        if self._consents.withdrew(user.said.fields, stored):
            stored, user = None, NOBODY_KNOWN
        return [self._part_of(question, user, stored) for question in questions()]

    def _part_of(self, question: Question, user: KnownUser, stored: Session | None) -> Assigned | Refused | None:
        try:
            known = NOBODY_KNOWN if question.asked.user_id is None else user
            return self._assigned(question.find(), question, known, stored)[1]
        except Refused as error:
            return error

    def _assigned(
        self, plain: Compiled, question: Question, user: KnownUser, stored: Session | None, *, alone: bool = True
    ) -> tuple[Compiled, Assigned | None]:
        now_ms = self._clock()
        query, kind = partial(segment_query, question, user, now_ms), partial(kind_of, question, user, stored)
        return self._experiments.assigned(plain, question.asked, query, kind, self._columns, now_ms, alone=alone)

    async def _tired_of(
        self, scenario: Compiled, question: Question, stored: Session | None, degraded: list[str]
    ) -> tuple[int, ...]:
        """Have the columns that a scenario reads of items made; return what its visitor was shown too often."""
        await self._ahead.catch_up(read_of_items(scenario, self._clock(), question.filter))
        fatigue = scenario.scenario.fatigue
        if fatigue is None or not question.kept:
            return ()
        return await self._shown.tired_of(visitor_of(question), fatigue, stored, degraded)

    async def _visitor(self, question: Question) -> tuple[ViewRead, list[str], KnownUser]:
        """Return a question's session view, what could not be had, and what is known of its user."""
        until = asyncio.get_running_loop().time() + WAIT_SHARE * self._deadline_s
        session_id, user_id = question.asked.session_id, question.asked.user_id
        partition = partition_of(session_id, self._partitions)
        seen = await self._views.see(session_id, partition, question.after, until, user_id)
        degraded = await self._degraded(seen, until)
        return seen, degraded, NOBODY_KNOWN if user_id is None else self._users.known(user_id, seen.view, degraded)

    async def _degraded(self, seen: ViewRead, until: float) -> list[str]:
        """Catch up with catalogue and scenarios as the view knows them; name what could not be had."""
        if seen.view is None:
            return [SESSION_UNAVAILABLE]
        missing = [SESSION_UNAVAILABLE] if seen.view.unreadable is not None else []
        for replica, ends, behind in (
            (self._catalogue, seen.view.catalogue_ends, CATALOGUE_BEHIND),
            (self._scenarios, seen.view.scenarios_ends, SCENARIOS_BEHIND),
        ):
            if ends is None or not await caught_up(replica, ends, until):
                missing.append(behind)
        return missing


async def caught_up(replica: Followed, ends: Sequence[int], until: float) -> bool:
    """Wait until a replica has a table's changes up to the end of each shard; False where it has not by loop time
    `until`.
    """
    if replica.has(ends):
        return True
    try:
        async with asyncio.timeout_at(until):
            return await replica.catch_up(*ends)
    except TimeoutError:
        return False


def _ids() -> Iterator[str]:
    """Yield random ids of 128 bits, 32 hex digits."""
    while True:
        digits = os.urandom(16 * 256).hex()
        for at in range(0, len(digits), 32):
            yield digits[at : at + 32]
