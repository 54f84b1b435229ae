"""What the pipeline is asked, what it answers, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from contracts.api import ColdStart, ItemGroup, Placement, Seen
from contracts.ids import ItemKey
from contracts.sessions import Session
from contracts.users import Hidden
from rerank.affinities import Learnt
from rerank.scenarios.compiled import NO_FILTER, Compiled, Filter
from retrieval.groups import NO_GROUP, Groups
from retrieval.sources import SourceSettings

__all__ = ["PipelineSettings", "Query", "Ranked", "RankedItem", "Seen"]


class PipelineSettings(SourceSettings):
    """How answers are composed."""

    leave_out_seen: dict[Placement, Seen] = Field(
        default={placement: placement.defaults.leave_out_seen for placement in Placement},
        description="Items of the session that are left out, by placement: all, taken (in cart or bought), none. "
        "A placement that is not named keeps its default.",
    )
    category_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="At most this share of a page from one category while others can fill it; 0 is no limit. "
        "Never applies to search, nor where a category was asked for.",
    )
    search_prior: float = Field(
        default=0.5,
        ge=0,
        le=10,
        description="Weight of the order of `candidates` beside ours where search results are re-ranked; 0: for ties "
        "alone.",
    )
    profile_worth: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="A visitor's profile weighs like so many clicks beside those of the session, on homepage, email "
        "and push; 0: it counts only before the first click, as it does on the other placements.",
    )
    unknown_age: int = Field(
        default=0, ge=0, le=150, description="The age that a visitor who gave none counts as having, in years."
    )
    rules: tuple[str, ...] = Field(
        default=(),
        description="Rules of the site's own, beside the built-in ones: functions of importable modules, each as "
        "`package.module:function`.",
    )

    def seen_at(self, placement: Placement) -> Seen:
        """Return which items of the session a placement leaves out."""
        return self.leave_out_seen.get(placement, placement.defaults.leave_out_seen)


@dataclass(frozen=True, slots=True)
class Query:
    """One page's question, with the session view already read.

    `deadline` is when the answer is due, in seconds of the pipeline's clock (`time.monotonic`); None: no hurry.
    `candidates` are the only items to rank, in the caller's order; None: the pipeline finds its own.
    With `explain` the answer names what the rules dropped. `context` is what the request said of its visitor, as it
    came: a rule that needs more than region, age and category reads it there; `user` what is known of the user.
    `scenario` is what a shop decided of this list, None for a plain placement; `filter` is the request's own.
    """

    now_ms: int
    placement: Placement = Placement.HOMEPAGE
    session: Session | None = None
    item_id: str | None = None
    limit: int = 20
    region: str | None = None
    category: str | None = None
    age: int | None = None
    exclude: tuple[str, ...] = ()
    shown_before: tuple[int, ...] = ()
    """Keys of items that earlier pages of this list showed."""
    tired_of: tuple[int, ...] = ()
    """Keys of items that this visitor was shown too often: they come last."""
    candidates: tuple[str, ...] | None = None
    deadline: float | None = None
    explain: bool = False
    context: Mapping[str, Any] = field(default_factory=dict)
    hidden: Hidden | None = None
    """What this user is never to be shown."""
    user: Mapping[str, Any] = field(default_factory=dict)
    learnt: Learnt | None = None
    """What the stream learnt of this user."""
    taste: NDArray[np.float32] | None = None
    """(d,) unit vector of the user in the items' space."""
    taste_is_learnt: bool = True
    """Whether clicks are in it, or only what the user said."""
    groups: Groups = ()
    """The groups of visitors that this one is of."""
    device_group: ItemKey = NO_GROUP
    region_group: ItemKey = NO_GROUP
    """The keys of the groups of the visitor's device and region, 0 for none: what the optional features read."""
    scenario: Compiled | None = None
    filter: Filter = NO_FILTER
    seed: int | None = None
    """By which a page that explores draws: the same seed, the same page. None: as chance has it."""

    @property
    def whole_filter(self) -> Filter:
        """The scenario's filter and the request's own."""
        return self.filter if self.scenario is None else self.scenario.filter + self.filter

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the placement and the settings says what is shown."""
        return self.scenario is None and not self.filter.clauses


class RankedItem(NamedTuple):
    item_id: str
    score: float
    reason: str
    group: ItemGroup | None = None
    """On a product page: like the page's item, or what goes with it."""


class Ranked(msgspec.Struct, frozen=True):
    """One answer. Scores fall from item to item and compare within this answer only.

    `degraded` names what was left out: `no_model` (no encoder), `no_ranker`, or the rung that the deadline left:
    `retrieval_order`, `co_visitation`, `trending`. `timings_us` are of the whole batch that this query was part of.
    `dropped` counts what each rule took away, `dropped_items` names it when that was asked, best first.
    `explained` says what each item's value is made of and which rule placed it, where a scenario's answer is asked why.
    `starved_by` says, of a page shorter than was asked for, how many items retrieval can find and how many of them
    category, region and stock leave; empty for a full page and for given candidates.
    `scored` are the features (c, f) that the ranker read of the batch's candidates, None when nothing was ranked, and
    `positions` (n,) which of them the items are, below 0 for an item that was none.
    """

    items: list[RankedItem]
    degraded: list[str]
    timings_us: dict[str, int]
    cold_start: ColdStart | None = None
    """What the answer goes by; None where nothing was asked of the pipeline."""
    candidates: int = 0
    dropped: dict[str, int] = msgspec.field(default_factory=dict)
    dropped_items: dict[str, list[str]] = msgspec.field(default_factory=dict)
    starved_by: dict[str, int] = msgspec.field(default_factory=dict)
    explained: list[dict[str, Any]] = msgspec.field(default_factory=list)
    scored: NDArray[np.float32] | None = None
    positions: NDArray[np.intp] | None = None

    @property
    def first_scored(self) -> NDArray[np.float32] | None:
        """The ranker's rows of all candidates, (c, f), of an answer that is the first of its batch."""
        return None if self.scored is None else self.scored[: self.candidates]

    @property
    def features(self) -> NDArray[np.float32]:
        """The ranker's rows of `items`, (n, f), NaN for an item that was not ranked; no rows when nothing was."""
        if self.scored is None or self.positions is None:
            from rerank.features import FEATURES  # settings are read without loading all that ranks

            return np.zeros((0, len(FEATURES)), np.float32)
        rows = np.full((len(self.positions), self.scored.shape[1]), np.nan, np.float32)
        ranked = self.positions >= 0
        rows[ranked] = self.scored[self.positions[ranked]]
        return rows
