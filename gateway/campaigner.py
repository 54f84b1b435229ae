"""Answers for campaigns, in process: the gateway's own recommender, asked for many users as one array batch.

Nothing of it is the site's traffic: no port is opened, nothing is recorded, and no impression is logged unless asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from aiohttp import web

from campaigns.caps import Cap, campaign_key, packed
from campaigns.picks import fields_of, pick_of, request_id_of
from campaigns.recipients import ConsentRule, Recipient, Skip, consents
from contracts.errors import SettingsError, StateUnavailable
from expressions.errors import ExpressionError
from expressions.program import Condition, condition
from expressions.types import Fields
from gateway.app import create_app
from gateway.keys import CATALOGUE, LEDGER, RECOMMENDER
from gateway.preparing import SESSION_UNAVAILABLE
from gateway.problems import Refused
from gateway.question import Prepared, Question
from gateway.recommendations import expect_fields, published, question_of
from gateway.resources import log_writer, recommender, replicas
from gateway.settings import GatewaySettings
from gateway.tables import REPLICAS
from rerank.query import Query
from rerank.scenarios.fields import FIELDS, RequestFrame
from state.campaign_ledger import CampaignLedger

LOOK_S: Final = 0.02
TRIES: Final = 5
"""Times that a batch is asked whose users Redis does not tell of."""
PAUSE_S: Final = 1.0
MOST: Final = 256
"""Users of one batch."""
_WITHIN_MS: Final = 10_000
_OF: Final = ("user", "clock")
FILTER_FIELDS: Final = Fields(
    {name: field for name, field in FIELDS.named.items() if name.partition(".")[0] in _OF},
    {name: scope for name, scope in FIELDS.open.items() if name.partition(".")[0] in _OF},
)
"""What a campaign's filter may name: what the site says of a user, and what was learnt of one."""
_ONE: Final = np.zeros(1, np.int32)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a campaign asks for each user. `at_ms` is its moment: requests are made as of then, whenever they are."""

    campaign: str
    scenario: str
    at_ms: int
    limit: int
    fields: tuple[str, ...] = ()
    filter: str | None = None
    """Of the users: over `FILTER_FIELDS`."""
    consent: ConsentRule = ConsentRule.UNLESS_REFUSED
    cap: Cap | None = None
    impressions: bool = False


@dataclass(frozen=True, slots=True)
class Picked:
    """What came of one batch, in the order of its users: a pick, or why there is none. `degraded` counts picks from
    which something was left out, by what.
    """

    picks: Sequence[Mapping[str, Any] | Skip]
    degraded: Mapping[str, int]


def compile_filter(text: str) -> Condition:
    """Compile a filter of users. Raises SettingsError with line and column."""
    try:
        return condition(text, FILTER_FIELDS)
    except ExpressionError as error:
        raise SettingsError(f"the filter of users: {error}") from error


def expect_item_fields(fields: Sequence[str]) -> None:
    """Raise SettingsError for a field that no item can have."""
    try:
        expect_fields(fields)
    except Refused as error:
        raise SettingsError(error.detail) from error


def own_settings(settings: GatewaySettings) -> GatewaySettings:
    """Return the settings of a gateway that answers campaigns alone: nobody waits for it, and nobody reaches it."""
    own = {"deadline_ms": _WITHIN_MS, "longest_wait": 0.0, "keys": "open-to-anyone", "compute_thread": False}
    options = settings.gateway.model_copy(update={**own, "max_waiting": 4 * MOST})
    return settings.model_copy(update={"gateway": options})


@asynccontextmanager
async def campaigner(settings: GatewaySettings, asked: Asked) -> AsyncIterator[Campaigner]:
    """Load what answers are made of, and give what picks by it. Raises SettingsError for a scenario or a field that
    there is not, ArtifactError, StateUnavailable.
    """
    app = create_app(own_settings(settings), clock=lambda: asked.at_ms)
    app.cleanup_ctx.clear()  # nothing is recorded, and no live figures of the site are told
    app.cleanup_ctx.extend((log_writer, replicas, recommender))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await _loaded(app, settings.redis.timeout_ms / 1000)
        found = Campaigner(app, asked, app[LEDGER])
        found.expect_askable()
        yield found
    finally:
        await runner.cleanup()


async def _loaded(app: web.Application, heard_within_s: float) -> None:
    """Wait until the tables are in memory. Raises StateUnavailable where Redis is not heard of at all."""
    waited = 0.0
    while not all(replica.loaded for replica in app[REPLICAS].values()):
        if waited > heard_within_s and all(replica.age_s > heard_within_s for replica in app[REPLICAS].values()):
            raise StateUnavailable(
                "the tables of the deployment cannot be read: is Redis there? (NEXTCLICK_REDIS__URL)"
            )
        await asyncio.sleep(LOOK_S)
        waited += LOOK_S
    app[RECOMMENDER].ranking.rehearse()


class Campaigner:
    """Picks for batches of users. Belongs to the event loop of its process."""

    def __init__(self, app: web.Application, asked: Asked, ledger: CampaignLedger) -> None:
        self._app, self._asked, self._ledger = app, asked, ledger
        self._filter = None if asked.filter is None else compile_filter(asked.filter)
        self._fields = fields_of(asked.fields)
        self._entry = packed({campaign_key(asked.campaign): asked.at_ms})

    def expect_askable(self) -> None:
        """Raise SettingsError for a scenario that there is not, or a field that no item has."""
        expect_item_fields(self._fields)
        try:
            published(self._app, self._asked.scenario)
        except Refused as error:
            raise SettingsError(error.detail) from error

    async def pick(self, recipients: Sequence[Recipient]) -> Picked:
        """Pick for users, MOST at most, as one batch. Raises StateUnavailable where Redis does not tell of them."""
        outcome: list[Mapping[str, Any] | Skip] = [Skip.INVALID] * len(recipients)
        questions, places = self._questions(recipients)
        taken = await self._taken([recipients[at].user_id for at in places])
        for at, is_taken in zip(places, taken, strict=True):
            if not is_taken:
                outcome[at] = Skip.CAP
        asked = [(question, at) for question, at, is_taken in zip(questions, places, taken, strict=True) if is_taken]
        answers = await self._answers([question for question, _ in asked])
        degraded: dict[str, int] = {}
        for (question, at), answer in zip(asked, answers, strict=True):
            outcome[at] = self._outcome(question, answer, degraded)
        unused = [recipients[at].user_id for _, at in asked if isinstance(outcome[at], Skip)]
        await self._ledger.give_back(unused, self._entry)
        return Picked(outcome, degraded)

    def _outcome(
        self, question: Question, answer: dict[str, Any] | str, degraded: dict[str, int]
    ) -> Mapping[str, Any] | Skip:
        if isinstance(answer, str):
            return Skip(answer)
        if answer.get("capped"):
            return Skip.PLACEMENT_CAP
        if not answer["recommendations"]:
            return Skip.EMPTY
        for what in answer["degraded"]:
            degraded[what] = degraded.get(what, 0) + 1
        user_id, asked = question.asked.user_id, self._asked
        assert user_id is not None
        return pick_of(asked.campaign, asked.at_ms, user_id, answer, self._fields)

    def _questions(self, recipients: Sequence[Recipient]) -> tuple[list[Question], list[int]]:
        """Return the requests of users, and the places of those users; whom no request may name has none."""
        questions: list[Question] = []
        places: list[int] = []
        for at, one in enumerate(recipients):
            try:
                questions.append(question_of(self._asked.scenario, self._body(one), self._app))
            except Refused:
                continue
            places.append(at)
        return questions, places

    def _body(self, one: Recipient) -> bytes:
        """Return the body of the request that answers for a user; of a new session, unless the audience names one."""
        named = request_id_of(self._asked.campaign, self._asked.at_ms, one.user_id)
        body: dict[str, Any] = {
            "session_id": one.session_id or f"c-{named}",
            "user_id": one.user_id,
            "limit": self._asked.limit,
            "fields": self._fields,
        }
        if one.item_id is not None:
            body["item_id"] = one.item_id
        if one.context is not None:
            body["context"] = one.context
        return orjson.dumps(body)

    async def _taken(self, users: Sequence[str]) -> list[bool]:
        """Count the campaign for users, except for who is capped."""
        asked = self._asked
        since_ms, most = (0, 0) if asked.cap is None else (asked.cap.since_ms(asked.at_ms), asked.cap.most)
        return await self._ledger.take(users, self._entry, at_ms=asked.at_ms, since_ms=since_ms, most=most)

    async def _answers(self, questions: Sequence[Question]) -> list[dict[str, Any] | str]:
        """Answer a batch; again where Redis did not tell of its users, and as it is where it never does."""
        asked = [(one, self._request_id(one)) for one in questions]
        for tried in range(1, TRIES + 1):
            recommender = self._app[RECOMMENDER]
            answers = await recommender.answer_each(asked, self._refusal, shown=self._asked.impressions)
            missing = [one for one in answers if isinstance(one, dict) and SESSION_UNAVAILABLE in one["degraded"]]
            if not missing or len(missing) < len(questions) / 2:  # some sessions are damaged, and stay so
                return answers
            await asyncio.sleep(tried * PAUSE_S)
        raise StateUnavailable(
            "Redis did not tell of the users of a batch: run the campaign again, it goes on from here"
        )

    def _request_id(self, question: Question) -> str:
        user_id = question.asked.user_id
        assert user_id is not None
        return request_id_of(self._asked.campaign, self._asked.at_ms, user_id)

    def _refusal(self, prepared: Prepared) -> str | None:
        """Return why a user is not written to, by what is known of them; None where nothing speaks against it."""
        if not consents(prepared.document, self._asked.consent):
            return Skip.CONSENT
        if self._filter is not None and not self._passes(self._filter, prepared):
            return Skip.OUTSIDE
        return None

    def _passes(self, filter: Condition, prepared: Prepared) -> bool:
        user = prepared.user
        learnt = None if user.profile is None else self._app[RECOMMENDER].users.learnt(user.profile)
        query = Query(self._asked.at_ms, user=user.said.fields, learnt=learnt)
        return bool(filter.keeps(RequestFrame(self._app[CATALOGUE], _ONE, query))[0])
