"""Scenarios: what a shop decides of a list of recommendations, as one versioned document.

The six placements are scenarios that exist from the start; a document of that name is put over one. Expressions
(`filter`, `boosts[].if`) are texts here; `rerank.scenarios` compiles them, and says where one is wrong.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    field_validator,
    model_validator,
)

from contracts.api import Placement, Seen
from contracts.events import Identifier

NAME_PATTERN: Final = r"^[a-z0-9_-]{1,64}$"
MAX_BASES: Final = 5
"""Scenarios that may stand on each other."""

MAX_EXPRESSION: Final = 8000
"""Characters of one expression."""
MAX_EXPRESSIONS: Final = 20_000
"""Characters of all expressions of a scenario: every gateway process compiles them."""
MAX_BYTES: Final = 100_000
"""Of a published document."""
MAX_SCENARIOS: Final = 5000

ScenarioName = Annotated[str, Field(pattern=NAME_PATTERN)]
Expression = Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]


def _with_zone(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _a_text(value: object) -> object:
    """Return a value that is no number: those would be taken for epochs. Raises ValueError."""
    if isinstance(value, (bool, int, float)):
        raise ValueError(f"expected a text, got {value!r}")
    return value


Moment = Annotated[datetime, Strict(False), BeforeValidator(_a_text), AfterValidator(_with_zone)]
"""ISO 8601; without a zone it is UTC."""


def _a_duration(value: object) -> object:
    """Return a value that is no text of another form than ISO 8601's. Raises ValueError."""
    if isinstance(value, str) and not value.startswith("P"):
        raise ValueError(f"expected a duration such as P1D or PT12H, got {value[:40]!r}")
    return _a_text(value)


Length = Annotated[timedelta, Strict(False), BeforeValidator(_a_duration)]
"""ISO 8601, such as P1D."""
SeenWord = Annotated[Seen, Strict(False)]


class _Part(BaseModel):
    """Takes JSON's own kinds alone: `true` and `"5"` are no numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=True)


class _Dated(_Part):
    """A decision that counts from one moment until another; None is for ever."""

    from_: Moment | None = Field(default=None, alias="from")
    until: Moment | None = None
    why: str | None = Field(default=None, max_length=200, description="Told in the item's reason and in `explain`.")

    @model_validator(mode="after")
    def _in_order(self) -> _Dated:
        if self.from_ is not None and self.until is not None and self.until <= self.from_:
            raise ValueError(
                f"expected `until` after `from`, got {self.from_.isoformat()} and {self.until.isoformat()}"
            )
        return self

    def counts_at(self, now_ms: int) -> bool:
        """Say whether a moment lies within the dates: `from` counts, `until` no longer does."""
        begins = self.from_ is None or self.from_.timestamp() * 1000 <= now_ms
        return begins and (self.until is None or now_ms < self.until.timestamp() * 1000)


class Boost(_Dated):
    """Items of which a condition is true have their value multiplied."""

    if_: Expression = Field(alias="if")
    multiply: float = Field(gt=0, le=100, allow_inf_nan=False)


class Pin(_Dated):
    """An item that stands at a position, where no rule forbids it."""

    item_id: Identifier
    position: int = Field(ge=1, le=100)


class Limit(_Part):
    """At most so many items of a page may be alike in a field; items without it are not limited."""

    field: Literal["category", "top_category", "brand", "supplier", "price_band"]
    share: float | None = Field(default=None, gt=0, le=1, description="Of the page, rounded up.")
    most: int | None = Field(default=None, ge=1, le=100)

    @model_validator(mode="after")
    def _one_of_both(self) -> Limit:
        if (self.share is None) == (self.most is None):
            raise ValueError("expected one of `share` and `most`")
        return self


class Fatigue(_Part):
    """What a visitor was shown so often and did not click makes room."""

    shown: int = Field(ge=1, le=1000)
    within: Length = Field(gt=timedelta(0), le=timedelta(days=30), description="ISO 8601, such as P1D.")


class Value(_Part):
    """Weights of the terms that an item's value is made of. Each term lies between 0 and 1 within its list."""

    match: Weight = Field(default=1.0, description="What the ranker says.")
    trend: Weight = Field(default=0.0, description="Popularity now.")
    stock: Weight = Field(default=0.0, description="How much there is of it.")
    margin: Weight = Field(default=0.0, description="Its margin.")
    fresh: Weight = Field(default=0.0, description="How new it is.")
    season: Weight = Field(default=0.0, description="Whether it is of this season (`attributes.season`).")


class Preset(StrEnum):
    """Value models by name."""

    FASHION = "fashion"
    MARGIN = "margin"


PRESETS: Final = {
    Preset.FASHION: Value(match=0.4, trend=0.2, stock=0.1, margin=0.1, fresh=0.1, season=0.1),
    Preset.MARGIN: Value(match=1.0, margin=0.1),
}


class Fallback(StrEnum):
    """What fills a page that candidates cannot fill."""

    TRENDING = "trending"
    NEWEST = "newest"


class Sources(_Part):
    """Candidates a source brings; a source that is left out keeps the settings' number."""

    nearest: int | None = Field(default=None, ge=0, le=500)
    covisited: int | None = Field(default=None, ge=0, le=50, description="Of each of the last clicks.")
    bought_together: int | None = Field(
        default=None, ge=0, le=200, description="Taken by ended sessions together with what is in the cart."
    )
    trending: int | None = Field(default=None, ge=0, le=500)
    recent: int | None = Field(default=None, ge=0, le=500)
    new: int | None = Field(default=None, ge=0, le=200)
    own: int | None = Field(
        default=None,
        ge=0,
        le=200,
        description="What the user looked at on earlier visits and did not buy, before the first click.",
    )


class Scenario(_Part):
    """What a shop decides of one list. Whatever is left out is as the base says, or else the placement."""

    description: str | None = Field(default=None, max_length=1000)
    base: ScenarioName | None = Field(default=None, description="The scenario that this one is put over.")
    sources: Sources | None = None
    ranker: ScenarioName | None = Field(
        default=None, description="The re-ranker that ranks: a folder of this name in `rerankers` of the artifacts."
    )
    filter: Expression | None = Field(default=None, description="A condition that every item must meet.")
    boosts: Annotated[list[Boost], Field(max_length=100)] | None = None
    value: Value | Annotated[Preset, Strict(False)] | None = None
    pins: Annotated[list[Pin], Field(max_length=100)] | None = None
    bury: Annotated[list[Identifier], Field(max_length=1000)] | None = Field(
        default=None, description="Items that come behind all others."
    )
    limits: Annotated[list[Limit], Field(max_length=10)] | None = None
    diversity: Share | None = Field(default=None, description="0: by value alone; 1: as unlike each other as can be.")
    new_share: Share | None = Field(default=None, description="Of the page for items of the last 30 days.")
    small_supplier_share: Share | None = Field(
        default=None, description="Of the page for suppliers that few impressions went to."
    )
    popularity_debias: Share | None = Field(default=None, description="How much popularity is taken off the value.")
    explore: Annotated[float, Field(ge=0, le=0.5)] | None = Field(
        default=None, description="Share of positions given to candidates drawn by chance."
    )
    seen: SeenWord | None = None
    fatigue: Fatigue | None = None
    fallback: Annotated[list[Annotated[Fallback, Strict(False)]], Field(max_length=2)] | None = None
    fields: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=50)] | None = Field(
        default=None, description="Fields of the item that come with each recommendation."
    )

    @model_validator(mode="after")
    def _is_soon_compiled(self) -> Scenario:
        size = len(self.filter or "") + sum(len(boost.if_) for boost in self.boosts or ())
        if size > MAX_EXPRESSIONS:
            raise ValueError(f"expected expressions of {MAX_EXPRESSIONS:,} characters in all, got {size:,}")
        return self

    @field_validator("pins")
    @classmethod
    def _pins_part(cls, pins: list[Pin] | None) -> list[Pin] | None:
        for at, pin in enumerate(pins or ()):
            for other in (pins or ())[:at]:
                if _overlap(pin, other) and (pin.position == other.position or pin.item_id == other.item_id):
                    raise ValueError(
                        f"{pin.item_id!r} at {pin.position} and {other.item_id!r} at {other.position} overlap: "
                        "expected one item a position, and one position an item, at any time"
                    )
        return pins

    @property
    def weights(self) -> Value | None:
        """The value model, presets looked up."""
        return PRESETS[self.value] if isinstance(self.value, Preset) else self.value

    def over(self, base: Scenario) -> Scenario:
        """Return this scenario put over its base: each field that is given replaces the base's."""
        fields = {name: getattr(self, name) for name in self.model_fields_set if name != "base"}
        return base.model_copy(update={"base": None, **fields})


def _overlap(one: _Dated, other: _Dated) -> bool:
    latest = max((moment for moment in (one.from_, other.from_) if moment is not None), default=None)
    earliest = min((moment for moment in (one.until, other.until) if moment is not None), default=None)
    return latest is None or earliest is None or latest < earliest


class ScenarioVersion(BaseModel):
    """A published scenario, as the table keeps it: `version` counts from 1 and never goes back."""

    model_config = ConfigDict(frozen=True)

    name: ScenarioName
    version: int = Field(ge=1)
    published_ms: int = Field(ge=0)
    by: str | None = Field(default=None, max_length=200, description="Id of the API key that published it.")
    scenario: Scenario


def document_of(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as the JSON document that it was given as: what was not given is left out."""
    return scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)


def placement_of(name: str) -> Placement | None:
    """Return the placement of that name, if it is one."""
    return Placement(name) if name in set(Placement) else None
