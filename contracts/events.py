"""The one event schema: what sites send, what the log keeps, what the flows read.

Wire form is JSON. Fields that the schema does not know are kept; a version or shape that it does not know
becomes a `Rejection`, which is data with a reason, never an exception. Flows and gateway read events by
`contracts.plain_events`, which asks this schema only about what is not plain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

SCHEMA_VERSION = 1
MAX_FUTURE_MS = 5 * 60 * 1000
"""How far ahead of our clock a timestamp may be, in milliseconds."""

EPOCH_SECONDS = range(10**8, 10**11)
"""What a clock that counts seconds says from 1973 on; in milliseconds it would be 1970 to 1973."""

Identifier = Annotated[str, Field(min_length=1, max_length=256)]
MOST_PIECES: Final = 1_000_000
CURRENCY: Final = "^[A-Z]{3}$"
Quantity = Annotated[int, Field(ge=1, le=MOST_PIECES)]
Currency = Annotated[str, Field(min_length=3, max_length=3, pattern=CURRENCY)]


class EventCode(IntEnum):
    """What an event means inside a session window. A site's own types are kept as OTHER, which means nothing.

    Stored windows hold these numbers: new ones come last.
    """

    OTHER = 0
    VIEW = 1
    CART = 2
    PURCHASE = 3
    HIDE = 4
    """The item is not to be shown again."""
    DISLIKE = 5
    """As HIDE; also a rating of 1 or 2."""
    UNHIDE = 6
    """Takes back what a HIDE, DISLIKE or RETURN of the item said."""
    LIKE = 7
    """As strong as a cart, without the item being in it; also a rating of 4 or 5."""
    RETURN = 8
    """The item was bought and sent back."""
    GLANCE = 9
    """A view shorter than GLANCE_MS: neither for nor against the item."""
    LOOK = 10
    """A view of LOOK_MS or longer."""


EVENT_CODES: Final = {
    "view": EventCode.VIEW,
    "cart": EventCode.CART,
    "purchase": EventCode.PURCHASE,
    "hide": EventCode.HIDE,
    "dislike": EventCode.DISLIKE,
    "unhide": EventCode.UNHIDE,
    "like": EventCode.LIKE,
    "return": EventCode.RETURN,
}
"""By type. A `rating` and a view with `context.dwell_ms` mean what their numbers say: see `code_of`."""
BUILT_IN: Final = frozenset((*EVENT_CODES, "rating", "impression"))
"""Types that have a meaning here."""
INTEREST: Final = frozenset((EventCode.VIEW, EventCode.CART, EventCode.PURCHASE, EventCode.LIKE, EventCode.LOOK))
"""Events that show interest in their item. Only these move a session's vector, are counted as clicks and pairs, vote,
and stand in the windows that candidates, features and reasons read."""
AGAINST: Final = frozenset((EventCode.HIDE, EventCode.DISLIKE, EventCode.RETURN))
"""Events after which the item is not shown again in the session."""
GLANCE_MS: Final = 2_000
LOOK_MS: Final = 30_000
RATINGS: Final = (1, 5)
"""Lowest and highest `value` of a `rating`."""
_RATED: Final = (EventCode.DISLIKE, EventCode.DISLIKE, EventCode.OTHER, EventCode.LIKE, EventCode.LIKE)


def code_of(type_: str, value: float | None = None, context: Mapping[str, Any] | None = None) -> EventCode:
    """Return what an event of a type means, with the `value` and `context` that came with it.

    A rating is rounded. `context.dwell_ms` of a view counts where it is a number of 0 or more; with anything
    else there, in what is open to a site's own fields, it is a view like any other.
    """
    code = EVENT_CODES.get(type_, EventCode.OTHER)
    if code is EventCode.VIEW:
        dwell_ms = context.get("dwell_ms") if context is not None else None
        return code if dwell_ms is None else _dwelt(dwell_ms)
    if type_ == "rating" and value is not None and is_rating(value):
        return _RATED[math.floor(value + 0.5) - 1]
    return code


def is_rating(value: object) -> bool:
    """Say whether a value is one that a `rating` may have."""
    return isinstance(value, int | float) and RATINGS[0] <= value <= RATINGS[1]


def _dwelt(dwell_ms: object) -> EventCode:
    if isinstance(dwell_ms, bool) or not isinstance(dwell_ms, int | float) or not dwell_ms >= 0:
        return EventCode.VIEW
    if dwell_ms < GLANCE_MS:
        return EventCode.GLANCE
    return EventCode.LOOK if dwell_ms >= LOOK_MS else EventCode.VIEW


def tells_of_seen(request_id: str | None, context: Mapping[str, Any] | None) -> bool:
    """Say whether an impression tells what of an answer was in view (`context.seen`), and shows nothing again.

    The gateway's own impression says what the answer showed: whoever counts showings passes this one by.
    """
    return request_id is not None and context is not None and context.get("seen") is True


class Event(BaseModel):
    """One thing that a visitor did, or (impression) was shown.

    `ts` is epoch milliseconds. `type` is open: view, cart, purchase, like, rating, hide, dislike, unhide, return and
    impression have a meaning here, any other lower-case word is kept. An impression carries `items`; everything else
    carries `item_id`. A rating's `value` is from 1 to 5. A purchase or a return may bring `value`, `quantity`,
    `order_id` and `currency`: figures count by them.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    v: int = Field(description="Schema version, 1.")
    event_id: Identifier = Field(description="Unique per event; a repeated id counts once.")
    type: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,31}$",
        description="view, cart, purchase, like, rating, hide, dislike, unhide, return, impression, or your own.",
    )
    session_id: Identifier
    user_id: Identifier | None = None
    item_id: Identifier | None = Field(default=None, description="Required unless type is impression.")
    ts: int = Field(ge=0, le=253_402_300_799_999, description="When it happened, epoch milliseconds.")
    context: dict[str, Any] | None = Field(default=None, description="device, location, and your own.")
    request_id: Identifier | None = Field(
        default=None, description="The recommendation answer that this event came from."
    )
    items: Annotated[list[Identifier], Field(fail_fast=True)] | None = Field(
        default=None, max_length=1000, description="Impressions: items shown."
    )
    value: float | None = Field(
        default=None,
        description="A rating's 1 to 5; of a purchase or a return the price of the whole line, in `currency`.",
    )
    quantity: Quantity | None = Field(default=None, description="Of a purchase or a return: pieces; 1 when left out.")
    order_id: Identifier | None = Field(default=None, description="The order that a purchase or a return is a line of.")
    currency: Currency | None = Field(default=None, description="Of `value`: three letters, as EUR.")
    consent: bool | None = Field(
        default=None,
        description="The visitor's consent to personalisation. false: the event is not kept, anywhere (`not_kept`).",
    )

    @model_validator(mode="after")
    def _names_its_items(self) -> Self:
        if self.type == "impression":
            if not self.items:
                raise ValueError("an impression needs a non-empty 'items' list")
        elif self.item_id is None:
            raise ValueError(f"a {self.type} event needs an 'item_id'")
        if self.type == "rating" and not is_rating(self.value):
            raise ValueError(f"a rating event needs a 'value' from {RATINGS[0]} to {RATINGS[1]}, got {self.value}")
        return self

    @property
    def code(self) -> EventCode:
        """What the event means in a session window."""
        return code_of(self.type, self.value, self.context)

    @property
    def is_impression(self) -> bool:
        return self.type == "impression"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an event was not taken. `reason` is a stable word for counting, `detail` is for the reader."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


NO_CONSENT: Final = Rejection("no_consent", "its visitor did not consent: it is passed by, and kept nowhere else")
"""Of an event that is in a log though it says so: another producer's. No dead letter is made of it."""


def parse_event(document: object, *, now_ms: int, max_future_ms: int = MAX_FUTURE_MS) -> Event | Rejection:
    """Validate one decoded JSON value as an event.

    Reasons: `not_an_object`, `unknown_version`, `invalid`, `timestamp_in_seconds`, `future_timestamp`.
    """
    if not isinstance(document, dict):
        return Rejection("not_an_object", f"expected a JSON object, got {type(document).__name__}")
    version = document.get("v")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        return Rejection("unknown_version", f"expected v={SCHEMA_VERSION}, got v={shown(version, 40)}")
    try:
        event = Event.model_validate(document)
    except ValidationError as error:
        return Rejection("invalid", _first_problem(error))
    if event.ts in EPOCH_SECONDS:
        return Rejection(
            "timestamp_in_seconds", f"ts is {event.ts}, which looks like epoch seconds: send epoch milliseconds"
        )
    if event.ts > now_ms + max_future_ms:
        ahead_s = (event.ts - now_ms) // 1000
        return Rejection(
            "future_timestamp",
            f"ts is {ahead_s} s ahead of the server's clock, the limit is {max_future_ms // 1000} s: "
            "send epoch milliseconds and check the sender's clock",
        )
    return event


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "event"
    got = problem.get("input")
    said = "" if isinstance(got, dict) else f", got {shown(got, 60)}"
    return f"{where}: {problem['msg']}{said}"


def shown(value: object, longest: int) -> str:
    """Return a value's first `longest` characters; what is nested too deep to be written is named by its type."""
    try:
        return f"{value!r:.{longest}}"
    except RecursionError:
        return f"a {type(value).__name__}, nested too deep to show"
