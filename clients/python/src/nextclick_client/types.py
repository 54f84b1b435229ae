"""What goes to the gateway and comes back, as the JSON objects that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

Document = Mapping[str, Any]
"""An item, a user, a context: a JSON object with the fields that the gateway's /docs names, and your own."""


class _EventNeeds(TypedDict):
    v: int
    event_id: str
    type: str
    session_id: str
    ts: int


class Event(_EventNeeds, total=False):
    """One thing that a visitor did, or was shown. Made by `nextclick_client.event`; fields of your own are kept."""

    user_id: str
    item_id: str
    items: list[str]
    context: dict[str, Any]
    request_id: str
    value: float
    quantity: int
    order_id: str
    currency: str


class Rejected(TypedDict):
    """An event, item or stock that was not taken, by its place in what was sent."""

    index: int
    reason: str


class EventsAnswer(TypedDict):
    """`token` is for `recommend(after=...)`: None where no click was taken."""

    accepted: int
    rejected: list[Rejected]
    token: str | None


class _RecommendationNeeds(TypedDict):
    item_id: str
    score: float
    reason: str
    position: int


class Recommendation(_RecommendationNeeds, total=False):
    """One recommended item. `item` holds the `fields` that were asked for."""

    group: str | None
    item: dict[str, Any]


class ScenarioName(TypedDict):
    name: str
    version: int


class _RecommendationAnswerNeeds(TypedDict):
    request_id: str
    recommendations: list[Recommendation]
    scenario: ScenarioName
    degraded: list[str]


class RecommendationAnswer(_RecommendationAnswerNeeds, total=False):
    """A list. `stale` is True where `after` was not applied in time; `cursor` brings what follows."""

    model_version: str
    experiment_id: str | None
    variant: str | None
    propensity: float | None
    session: dict[str, Any]
    profile: dict[str, Any] | None
    cold_start: str | None
    stale: bool | None
    timings_us: dict[str, int]
    capped: bool | None
    cursor: str | None
    dropped: dict[str, int]


class PageAnswer(TypedDict):
    """The lists of a page, in the order in which they were asked."""

    lists: list[RecommendationAnswer]


class CatalogueAnswer(TypedDict):
    """`visible`: recommendations see the change already, in every process."""

    accepted: int
    rejected: list[Rejected]
    visible: bool


class UserAnswer(TypedDict):
    visible: bool
