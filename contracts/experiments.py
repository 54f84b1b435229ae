"""Experiments: which share of visitors gets which variant of a scenario, as one versioned document.

Who is in which variant follows from `contracts.assignment`: nothing is stored by visitor.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from contracts.assignment import BUCKETS, HOLDOUT, INTERLEAVED
from contracts.events import Identifier
from contracts.nesting import DEEPEST, deeper_than
from contracts.scenarios import NAME_PATTERN, Expression, Length, Moment, Scenario, ScenarioName

MAX_EXPERIMENTS: Final = 500
MOST_VARIANTS: Final = 10
_LEAST_SHARE: Final = 1 / BUCKETS
_OVER_ONE: Final = 1e-9

ExperimentName = Annotated[str, Field(pattern=NAME_PATTERN)]
VariantName = Annotated[str, Field(pattern=NAME_PATTERN)]
COUNTED: Final = ("pages", "shown", "clicks", "carts", "purchases", "orders", "revenue")
"""What is known of each unit: metrics are one of them, or a ratio of two."""
MetricName = Annotated[str, Field(pattern=r"^[a-z_]{1,40}(/[a-z_]{1,40})?$")]


def expected_metric(name: str) -> str | None:
    """Return what is wrong with a metric's name; None for one that can be counted."""
    value, slash, below = name.partition("/")
    if value in COUNTED and (not slash or (below in COUNTED and below != value)):
        return None
    return f"expected one of {', '.join(COUNTED)}, or one divided by another such as clicks/pages, got {name!r}"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Variant(_Part):
    """What a share of the units gets. With neither `scenario` nor `patch` it is the scenario as it is published."""

    name: VariantName
    share: float = Field(
        ge=_LEAST_SHARE, le=1, allow_inf_nan=False, description="Of all units, in steps of a thousandth."
    )
    scenario: ScenarioName | None = Field(default=None, description="Another scenario that answers instead.")
    version: int | None = Field(
        default=None, ge=1, description="Of `scenario`, or of the experiment's own: that version, whatever follows it."
    )
    patch: dict[str, Any] | None = Field(default=None, description="A JSON merge patch of the scenario's document.")

    @model_validator(mode="after")
    def _says_one_thing(self) -> Variant:
        if self.name == HOLDOUT:
            raise ValueError(f"expected another name than {HOLDOUT!r}: that is what units outside of every variant get")
        if self.patch is not None and (self.scenario is not None or self.version is not None):
            raise ValueError("expected one of `scenario` (or `version`) and `patch`")
        if self.patch is not None and deeper_than(self.patch, DEEPEST):
            raise ValueError(f"expected a patch nested at most {DEEPEST} deep")
        return self

    @property
    def buckets(self) -> int:
        return max(1, round(self.share * BUCKETS))


class Bandit(_Part):
    """Shares follow what each variant earns (clicks a page), by Thompson sampling. Those of the variants are where it
    begins.
    """

    kind: Literal["bandit"]
    half_life: Length = Field(
        default=timedelta(hours=6),
        ge=timedelta(hours=1),
        le=timedelta(days=30),
        description="ISO 8601: a page so old counts half.",
    )
    floor: float = Field(
        default=0.05, ge=0, lt=0.5, allow_inf_nan=False, description="The smallest share of a variant, of those in it."
    )
    context: Annotated[list[Literal["device", "returning"]], Field(max_length=2)] = Field(
        default=[], description="Shares of their own for visitors who differ in these."
    )

    @field_validator("context")
    @classmethod
    def _differ(cls, context: list[str]) -> list[str]:
        if len(set(context)) < len(context):
            raise ValueError(f"expected each of device and returning once, got {', '.join(context)}")
        return context


class Interleaving(_Part):
    """Both variants' lists are made, and one page is mixed of them by team draft: a click is for the variant that
    brought the item.
    """

    kind: Literal["interleaving"]


def _kind_of(given: Any) -> str | None:
    kind = given.get("kind") if isinstance(given, dict) else getattr(given, "kind", None)
    return {"bandit": "Bandit", "interleaving": "Interleaving"}.get(kind) if isinstance(kind, str) else None


Allocation = Annotated[
    Annotated[Bandit, Tag("Bandit")] | Annotated[Interleaving, Tag("Interleaving")],
    Discriminator(
        _kind_of,
        custom_error_type="allocation",
        custom_error_message="expected an object whose `kind` is bandit or interleaving; without one, shares are fixed",
    ),
]


class Experiment(_Part):
    """Variants of one scenario, side by side. The first variant is the control."""

    description: str | None = Field(default=None, max_length=1000)
    scenario: ScenarioName = Field(description="The placement or scenario that is asked for.")
    variants: Annotated[list[Variant], Field(min_length=2, max_length=MOST_VARIANTS)]
    unit: Literal["session", "user"] = Field(
        default="session", description="What stays in one variant. `user`: requests without `user_id` take no part."
    )
    segment: Expression | None = Field(
        default=None,
        description="A condition over `context`, `user` and `clock` that requests must meet.",
    )
    metric: MetricName = Field(default="clicks/pages", description="What decides.")
    guardrails: Annotated[list[MetricName], Field(max_length=10)] = Field(
        default=[], description="What must not get worse."
    )
    lower_is_better: bool = False
    planned_units: int | None = Field(
        default=None, ge=100, description="Units at which the interval is to be the shortest; not changed on the way."
    )
    stop_on_guardrail: bool = Field(
        default=True,
        description="The judge stops it where a guardrail is worse for sure, or the variants do not hold their shares.",
    )
    promote_winner: bool = Field(default=False, description="The judge makes a winner the scenario.")
    minimum_days: int = Field(
        default=7, ge=0, le=365, description="Days that it must have run before the judge promotes a winner."
    )
    start: Moment | None = Field(default=None, description="Without it, as soon as it is published.")
    end: Moment | None = Field(default=None, description="Without it, until it is stopped.")
    holdout: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        allow_inf_nan=False,
        description="Units kept out of what this layer tries.",
    )
    allocation: Allocation | None = Field(
        default=None, description="How units get variants. Without it by shares that stay as they are written."
    )
    layer: ScenarioName | None = Field(
        default=None, description="Experiments of one layer share no unit. Without it, the layer is the scenario's."
    )
    overrides: Annotated[dict[Identifier, VariantName], Field(max_length=1000)] = Field(
        default={}, description="Units that get a variant whatever their hash says: testers. They are not counted."
    )

    @field_validator("allocation")
    @classmethod
    def _has_room(cls, allocation: Bandit | Interleaving | None, known: ValidationInfo) -> Bandit | Interleaving | None:
        names = [variant.name for variant in known.data.get("variants", ())]
        if isinstance(allocation, Bandit) and allocation.floor * len(names) >= 1.0:
            raise ValueError(
                f"expected a floor under {1.0 / len(names):g}, as {len(names)} floors must leave room to share, "
                f"got {allocation.floor:g}"
            )
        if isinstance(allocation, Interleaving) and names:
            if len(names) != 2:
                raise ValueError(f"expected exactly two variants to interleave, got {len(names)}")
            if INTERLEAVED in names:
                raise ValueError(f"expected variants of another name than {INTERLEAVED!r}: that is what their page is")
            if known.data.get("holdout"):
                raise ValueError("expected no holdout to interleave: a page is compared with itself, got one")
        return allocation

    @model_validator(mode="after")
    def _holds_together(self) -> Experiment:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError(f"expected variants of different names, got {', '.join(names)}")
        if (total := sum(variant.share for variant in self.variants) + self.holdout) > 1 + _OVER_ONE:
            raise ValueError(f"expected shares (and the holdout) of at most 1 together, got {total:g}")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"expected `end` after `start`, got {self.start.isoformat()} and {self.end.isoformat()}")
        strange = sorted(set(self.overrides.values()) - set(names))
        if strange:
            raise ValueError(f"expected overrides to name variants, {', '.join(names)}; got {', '.join(strange[:5])}")
        return self

    def wrong_metrics(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with its metrics, as pointer and detail. What was published before may name others."""
        for pointer, name in [
            ("/metric", self.metric),
            *((f"/guardrails/{n}", one) for n, one in enumerate(self.guardrails)),
        ]:
            if (wrong := expected_metric(name)) is not None:
                yield pointer, wrong
        names = [self.metric, *self.guardrails]
        for at, name in enumerate(self.guardrails):
            if name in names[: at + 1]:
                yield f"/guardrails/{at}", f"expected each metric once, got {name!r} again"

    @property
    def bandit(self) -> Bandit | None:
        return self.allocation if isinstance(self.allocation, Bandit) else None

    @property
    def interleaves(self) -> bool:
        return isinstance(self.allocation, Interleaving)

    @property
    def own_shares(self) -> tuple[float, ...]:
        """The share of each variant, of those in it."""
        buckets = [variant.buckets for variant in self.variants]
        return tuple(one / sum(buckets) for one in buckets)

    @property
    def in_layer(self) -> str:
        return self.layer or f"of {self.scenario}"


class ExperimentVersion(BaseModel):
    """A published experiment, as the table keeps it.

    `buckets`: which buckets of its layer each variant has, as hexadecimal masks. `pinned`: documents of the
    variants that name a version. `started_ms`: when its first version was published.
    """

    model_config = ConfigDict(frozen=True)

    name: ExperimentName
    version: int = Field(ge=1)
    published_ms: int = Field(ge=0)
    started_ms: int = Field(ge=0)
    by: str | None = Field(default=None, max_length=200)
    experiment: Experiment
    buckets: dict[str, str]
    pinned: dict[str, Scenario] = {}
    stopped_ms: int | None = None
    why: str | None = Field(default=None, max_length=500, description="Why it was stopped.")
    promoted: str | None = Field(default=None, description="The variant that the scenario was made to.")

    def runs_at(self, now_ms: int) -> bool:
        """Say whether units are assigned at a moment."""
        return self.stopped_ms is None and self.begins_ms <= now_ms < self.ends_ms

    @property
    def begins_ms(self) -> float:
        start = self.experiment.start
        return -float("inf") if start is None else 1000 * start.timestamp()

    @property
    def ends_ms(self) -> float:
        end = self.experiment.end
        return float("inf") if end is None else 1000 * end.timestamp()


def experiment_document(experiment: Experiment) -> dict[str, Any]:
    """Return an experiment as the JSON document that it was given as."""
    return experiment.model_dump(mode="json", exclude_unset=True)
