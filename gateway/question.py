"""What is asked, from the request to what the pipeline ranks, and what is logged of the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import orjson
from pydantic import BaseModel, ConfigDict, Field

from attribution.facts import YES_NO, device_of
from contracts.events import SCHEMA_VERSION
from contracts.plain_events import EventFields
from contracts.plain_requests import PlainRequest
from contracts.sessions import Session
from eventlog.contract import Position, Record
from gateway.bandits import Kind
from gateway.experiments import Assigned
from gateway.sessions import Known
from gateway.users import NOBODY_KNOWN, KnownUser, Taste
from rerank.affinities import Learnt
from rerank.kept import Kept
from rerank.pipeline import Query, Ranked
from rerank.scenarios.compiled import Compiled, Filter
from retrieval.groups import LONGEST, device_group, groups_of, region_group
from state.exposures import Shown


class Visitor(BaseModel):
    """The fields of a request's `context` that are checked at the door (422); all others pass unread."""

    model_config = ConfigDict(frozen=True, strict=True)

    region: str | None = Field(default=None, max_length=64)
    age: int | None = Field(default=None, ge=0, le=150)
    category: str | None = Field(default=None, max_length=300)


NOBODY = Visitor()
"""A visitor of whom the request says nothing."""


class Question(msgspec.Struct, frozen=True):
    """A request, decoded: what it asks, by whom, the clicks that came with it, and `after`."""

    asked: PlainRequest
    visitor: Visitor
    clicks: tuple[EventFields, ...]
    after: Position | None
    find: Callable[[], Compiled]
    """Returns the scenario that is asked for, as it is published when the answer is made. Raises Refused."""
    filter: Filter
    """The request's own."""
    shown_before: tuple[int, ...] = ()
    """Keys of what its cursor says was shown."""
    tried: bool = False
    """Whether a draft is tried: no experiment takes part."""
    forgotten: tuple[int, ...] = ()
    """EventKeys of stored clicks that the answer is to leave out."""
    kept: bool = True
    """Whether what is kept of the visitor may be used, and something be kept of the answer: not without consent. The
    question names nobody then.
    """
    listed_for: str = ""
    """The session that the cursor of such an answer is for."""
    capsule: Session | None = None
    """What the capsule says that came with it: the session, instead of the stored one."""

    @property
    def brings_session(self) -> bool:
        """Whether the session is the client's: what is stored is not asked."""
        return bool(self.asked.capsule)


class Prepared(msgspec.Struct, frozen=True):
    """A question with all that had to be waited for. `deadline` is in seconds of `time.monotonic`."""

    question: Question
    known: Known
    now_ms: int
    deadline: float
    scenario: Compiled
    tired_of: tuple[int, ...] = ()
    capped: bool = False
    """Whether the visitor was given as many pages of the placement as its frequency cap allows."""
    counted: Shown | None = None
    """What was counted for that cap."""
    user: KnownUser = NOBODY_KNOWN
    asked_for: str = ""
    """The name that was asked for: an experiment may answer by another scenario."""
    assigned: Assigned | None = None
    other: Prepared | None = None
    """The same question to the second of two interleaved variants."""
    request_id: str = ""
    """What is drawn for the answer is drawn by it: what is explored, and how an interleaved page is mixed."""
    document: Mapping[str, Any] = {}
    """What the site says of the user, whether the answer may use it or not."""


class Outcome(msgspec.Struct, frozen=True):
    """What the batch made of one question. `fold_us` is the batch's, as the pipeline's timings are. `teams`: of an
    interleaved page, whose each item is.
    """

    session: Session | None
    ranked: Ranked
    fold_us: int
    model_version: str
    teams: Sequence[int] = ()
    kept: Sequence[Kept] = ()
    """What its rankings were made of, where that is kept."""


def visitor_of(question: Question) -> str:
    """Return whom caps and fatigue count for: the user, of those who are known, else the session."""
    return question.asked.user_id or question.asked.session_id


def query_of(prepared: Prepared, session: Session | None, known: Taste) -> Query:
    question, asked, scenario, user = prepared.question, prepared.question.asked, prepared.scenario, prepared.user.said
    visitor, learnt = question.visitor, known.learnt
    region = user.region if visitor.region is None else visitor.region
    age = user.age if visitor.age is None else visitor.age
    seen_in, seen_on = _seen_at(asked.context, learnt, region)
    return Query(
        now_ms=prepared.now_ms,
        placement=scenario.placement,
        scenario=None if scenario.is_plain else scenario,
        filter=question.filter,
        session=session,
        item_id=asked.item_id,
        limit=asked.limit,
        region=region,
        age=age,
        category=visitor.category,
        exclude=tuple(asked.exclude or ()),
        shown_before=question.shown_before,
        tired_of=prepared.tired_of,
        candidates=tuple(asked.candidates) if asked.candidates is not None else None,
        deadline=prepared.deadline,
        explain=asked.explain,
        context=asked.context or {},
        hidden=user.hidden,
        user=user.fields,
        learnt=learnt,
        taste=known.vector,
        taste_is_learnt=known.is_learnt,
        groups=groups_of(seen_in, seen_on, age),
        device_group=device_group(seen_on),
        region_group=region_group(seen_in),
        seed=int(prepared.request_id, 16) if prepared.request_id else None,
    )


def segment_query(question: Question, user: KnownUser, now_ms: int) -> Query:
    """Return what segments are asked of: what the request says, and what the site says of the user."""
    said, visitor = user.said, question.visitor
    return Query(
        now_ms=now_ms,
        region=said.region if visitor.region is None else visitor.region,
        age=said.age if visitor.age is None else visitor.age,
        context=question.asked.context or {},
        user=said.fields,
    )


def kind_of(question: Question, user: KnownUser, stored: Session | None) -> Kind:
    """Return what a bandit may tell visitors apart by, as the impression will say it."""
    knows = user.profile is not None or (stored is not None and stored.events > 0) or bool(question.clicks)
    return Kind(device_of(_device(question, user)), YES_NO[knows])


def _device(question: Question, user: KnownUser) -> Any:
    """Return the device that a request names, else the one on which its user was seen last."""
    device = (question.asked.context or {}).get("device")
    if user.profile is not None:
        device = device or user.profile.device
    return device if isinstance(device, str) and 0 < len(device) <= LONGEST else None


def _seen_at(context: Mapping[str, Any] | None, learnt: Learnt | None, region: str | None) -> tuple[object, object]:
    """Return a visitor's region and device: what the request says comes first, then the user's document, then where
    and on what the user was seen last.
    """
    device = None if context is None else context.get("device")
    return (region, device) if learnt is None else (region or learnt.profile.region, device or learnt.profile.device)


def impression_of(
    request_id: str, prepared: Prepared, outcome: Outcome, margins: Sequence[float] | None = None
) -> Record:
    """Encode what was shown as an event, in the one event schema. `margins` are of its items (NaN, which
    is written as null, for one without), None: none has one.
    """
    asked = prepared.question.asked
    document: dict[str, Any] = {
        "v": SCHEMA_VERSION,
        "event_id": f"impression-{request_id}",
        "type": "impression",
        "session_id": asked.session_id,
        "ts": prepared.now_ms,
        "request_id": request_id,
        "items": [item.item_id for item in outcome.ranked.items],
        "context": where(prepared.scenario) | _stands_on(prepared, outcome),
    }
    if margins is not None:
        document["context"]["margins"] = margins
    if asked.user_id is not None:
        document["user_id"] = asked.user_id
    return Record(asked.session_id, orjson.dumps(document))


def _stands_on(prepared: Prepared, outcome: Outcome) -> dict[str, Any]:
    """Say what an answer stands on, by which its figures are told apart: what is not known is left out."""
    found: dict[str, Any] = {"returning": _is_returning(prepared, outcome.session)}
    if outcome.model_version:
        found["model"] = outcome.model_version
    if outcome.ranked.cold_start is not None:
        found["rung"] = outcome.ranked.cold_start
    profile, region = prepared.user.profile, prepared.question.visitor.region
    if (device := _device(prepared.question, prepared.user)) is not None:
        found["device"] = device
    if profile is not None:
        region = region or profile.region
    if region:
        found["region"] = region
    return found | _assigned(prepared.assigned, outcome.teams)


def _assigned(assigned: Assigned | None, teams: Sequence[int]) -> dict[str, Any]:
    """Say which variant was shown, and how it came to be that."""
    if assigned is None:
        return {}
    found: dict[str, Any] = {"experiment": assigned.experiment, "variant": assigned.variant}
    if assigned.propensity is not None:
        found["propensity"] = assigned.propensity
    if assigned.between:
        found |= {"between": list(assigned.between), "teams": list(teams)}
    return found


def _is_returning(prepared: Prepared, session: Session | None) -> bool:
    """Tell whether the visitor was here before: a profile, or clicks of the session."""
    return prepared.user.profile is not None or (session is not None and session.events > 0)


def where(scenario: Compiled) -> dict[str, Any]:
    """Say where something was shown, and of which version of a scenario."""
    if not scenario.version:
        return {"placement": scenario.name}
    return {"placement": scenario.placement.value, "scenario": scenario.name, "version": scenario.version}
