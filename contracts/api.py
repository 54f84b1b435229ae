"""What clients say to the gateway and what it answers. The OpenAPI document is generated from these models."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from contracts.events import Identifier
from contracts.items import Stock, a_number

TOKEN_PATTERN = r"^p\d{1,4}:\d{1,18}$"
MOST_CAPSULE: Final = 4096
"""Characters of a capsule."""


class Seen(StrEnum):
    """Which items of the session's window a placement leaves out."""

    ALL = "all"
    TAKEN = "taken"
    """Those that were put in the cart or bought; what was only viewed may be shown again."""
    NONE = "none"


class ItemGroup(StrEnum):
    """Why an item stands on a product page, beside the page's item."""

    ALIKE = "alike"
    """For the same need."""
    GOES_WITH = "goes_with"
    """Viewed, taken or bought together with it."""


class ColdStart(StrEnum):
    """What an answer goes by: the first of these that is known of a visitor. Below it nothing was needed."""

    SESSION = "session"
    """Clicks of the session, or `recent_events`."""
    PAGE = "page"
    """The item of the page; the session has no clicks."""
    PROFILE = "profile"
    """What the user clicked in earlier sessions."""
    SAID = "said"
    """What the user's document says of their taste: quiz, style tags, wishlist."""
    GIVEN = "given"
    """The order of `candidates`."""
    POPULAR_HERE = "popular_here"
    """What visitors of the same region, device or age click."""
    POPULAR = "popular"
    """What all visitors click."""
    NEWEST = "newest"
    """Nobody clicked anything yet."""


@dataclass(frozen=True, slots=True)
class PlacementDefaults:
    """What a placement means: how its pages are asked for and laid out, where no setting says otherwise."""

    leave_out_seen: Seen
    limits_categories: bool = True
    """Whether one category is held to `category_share` of a page."""
    interest_share: float = 0.0
    """Share of a page that one of several interests of the session may take; 0: any."""
    page_leads: bool = False
    """Whether the page's item is what is searched for, and what is like it stands apart from what goes with it."""
    cart_leads: bool = False
    """Whether the whole cart is what is searched for, and what sessions took together with it leads."""
    keeps_given_order: bool = False
    """Whether the order of `candidates` counts beside ours."""
    recalls_bought: bool = False
    """Whether what the user bought in earlier sessions is left out wherever what was taken is."""


class Placement(StrEnum):
    """Where on the site the recommendations stand: the name in the address, and the defaults of its pages."""

    defaults: PlacementDefaults

    HOMEPAGE = "homepage", PlacementDefaults(Seen.ALL, interest_share=0.5, recalls_bought=True)
    PRODUCT = "product", PlacementDefaults(Seen.ALL, limits_categories=False, page_leads=True)
    CART = "cart", PlacementDefaults(Seen.TAKEN, cart_leads=True)
    SEARCH = "search", PlacementDefaults(Seen.NONE, limits_categories=False, keeps_given_order=True)
    EMAIL = "email", PlacementDefaults(Seen.TAKEN, recalls_bought=True)
    PUSH = "push", PlacementDefaults(Seen.TAKEN, recalls_bought=True)

    def __new__(cls, name: str, defaults: PlacementDefaults | None = None) -> Placement:
        if defaults is None:
            raise TypeError(f"placement {name!r}: expected its PlacementDefaults beside its name, got none")
        member = str.__new__(cls, name)
        member._value_, member.defaults = name, defaults
        return member


class FrequencyCap(BaseModel):
    """At most so many pages of a placement for one visitor within a time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pages: int = Field(ge=1, le=100)
    within: timedelta = Field(gt=timedelta(0), le=timedelta(days=30), description="ISO 8601, such as P1D.")


class RecommendationRequest(BaseModel):
    """One page's question. Unknown fields are refused, so that a typo is not silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session_id: Identifier
    user_id: Identifier | None = None
    item_id: Identifier | None = Field(default=None, description="The item that the page shows.")
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(a_number)] = 20
    context: dict[str, Any] | None = Field(
        default=None,
        description="The rules use `region`, `age` (years) and `category` (a path: only items there or below it). "
        "Before the first click `region`, `age` and `device` say whose favourites are shown. "
        "Rules of the site's own read whatever else is here.",
    )
    recent_events: list[dict[str, Any]] | None = Field(
        default=None,
        max_length=100,
        json_schema_extra={"items": {"$ref": "#/components/schemas/Event"}},
        description="Events to fold in for this answer without storing them: of this session.",
    )
    exclude: list[Identifier] | None = Field(default=None, max_length=1000)
    after: str | None = Field(
        default=None, pattern=TOKEN_PATTERN, description="An events token: answer once it is applied."
    )
    candidates: list[Identifier] | None = Field(
        default=None, max_length=1000, description="Rank these items only (search)."
    )
    explain: bool = Field(
        default=False,
        strict=True,
        description="Name the candidates that rules dropped, and what a scenario made of each item.",
    )
    filter: str | None = Field(
        default=None, min_length=1, max_length=1000, description="A condition that every item must meet (scenarios)."
    )
    fields: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, max_length=50, description="Fields of the item to come with each recommendation, as `item`."
    )
    cursor: str | None = Field(
        default=None,
        max_length=22_000,
        description="Of an answer to this session, scenario, item_id and filter: what follows it, and nothing twice.",
    )
    consent: bool | None = Field(
        default=None,
        strict=True,
        description="The visitor's consent to personalisation. false: the answer goes by `recent_events` and `capsule` "
        "at most, and nothing is kept of it (`not_kept`).",
    )
    capsule: str | None = Field(
        default=None,
        max_length=MOST_CAPSULE,
        description='The session as the client keeps it, from the answer before; "" asks for the first one. The answer '
        "goes by it instead of what is stored, and brings the next one.",
    )


class Recommendation(BaseModel):
    """One recommended item. `score` is the re-ranker's (or the rung's that answered); higher is better."""

    item_id: str
    product_id: str = Field(description="The same as `item_id`.")
    score: float
    reason: str
    position: int = Field(ge=1)
    group: ItemGroup | None = Field(default=None, description="On a product page: alike, or goes_with.")
    item: dict[str, Any] | None = Field(default=None, description="With `fields`: those that the item has.")


class ScenarioName(BaseModel):
    """Which scenario answered, and its version: 0 for a placement that nothing was put over."""

    name: str
    version: int = Field(ge=0)


class SessionSummary(BaseModel):
    """What the answer knew of the session: clicks counted, and milliseconds since the last one."""

    events: int
    age_ms: int | None


class ProfileSummary(BaseModel):
    """What the answer knew of the user: clicks ever counted, and milliseconds since the last one; `said`: whether the
    user's document says anything of their taste (quiz, style tags, wishlist) that is known here.
    """

    clicks: int
    age_ms: int | None
    said: bool = False


class RecommendationAnswer(BaseModel):
    """An answer. `degraded` names what was left out to meet the deadline; empty is the full pipeline."""

    request_id: str
    recommendations: list[Recommendation]
    scenario: ScenarioName
    model_version: str
    experiment_id: str | None = Field(default=None, description="The experiment that the request is part of.")
    variant: str | None = Field(
        default=None,
        description="Its variant; `holdout`: kept out of all experiments of the layer; `interleaved`: of both.",
    )
    propensity: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="The probability of this variant for those in the experiment, when it was drawn: of a bandit its "
        "share at this moment. Null where nothing was drawn: no experiment, holdout, overrides, interleaved.",
    )
    session: SessionSummary
    profile: ProfileSummary | None = Field(default=None, description="With `user_id`: what the stream learnt of it.")
    cold_start: ColdStart | None = Field(
        default=None,
        description="What the answer goes by, the first of these that is known: the session's clicks, the page's item, "
        "the user's profile, what the user said, the order of `candidates`, what is popular with visitors of the same "
        "region, device or age, what is popular with all, the newest items. Null where nothing was ranked (`capped`).",
    )
    degraded: list[str]
    stale: bool | None = Field(default=None, description="True: `after` was not applied within the deadline.")
    timings_us: dict[str, int]
    capped: bool | None = Field(
        default=None, description="True: this visitor was given as many pages of the placement as its cap allows: none."
    )
    cursor: str | None = Field(default=None, description="Bring it to get what follows; null where the list ends.")
    not_kept: bool | None = Field(
        default=None, description="True: without consent nothing is kept of this answer, and nothing kept was used."
    )
    capsule: str | None = Field(
        default=None, description="With `capsule`: the session after this answer, to be brought back with the next."
    )
    dropped: dict[str, int] = Field(default={}, description="How many candidates each rule dropped, by its name.")
    dropped_items: dict[str, list[str]] | None = Field(
        default=None, description="With `explain`: the candidates that each rule dropped, best first, 100 at most."
    )
    explained: list[dict[str, Any]] | None = Field(
        default=None, description="With `explain`, of a scenario: each item's terms, boosts, and whether it is pinned."
    )
    starved_by: dict[str, int] | None = Field(
        default=None,
        description="Of a page shorter than `limit`: how many items can be found at all (`items`), and how many "
        "of them `category`, `region`, `in_stock` and `filter`, one after the other, leave.",
    )


class RejectedEvent(BaseModel):
    index: int
    reason: str


class EventsAnswer(BaseModel):
    """How many events are durably in the log, which were refused and why, and a token for `after`."""

    accepted: int
    rejected: list[RejectedEvent]
    token: str | None = None
    not_kept: int | None = Field(default=None, description="Events of visitors without consent; left out where none.")


class StockUpdate(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    item_id: Identifier
    stock: Stock


class CatalogueAnswer(BaseModel):
    """How many changes are durably in the log, and whether recommendations already see all of them."""

    accepted: int
    rejected: list[RejectedEvent]
    visible: bool


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    instance: str | None = None
