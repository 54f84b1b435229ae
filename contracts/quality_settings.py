"""Settings of what watches the data: what is counted, who is no human, and from which figure on a check is bad."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from contracts.backends import Group


class QualityOptions(Group):
    """Shares are of 1. A check warns from half of its threshold on."""

    run: bool = Field(default=False, description="Whether the stack runs the flow that watches the data.")
    window: timedelta = Field(
        default=timedelta(hours=1),
        ge=timedelta(minutes=5),
        le=timedelta(hours=6),
        description="Shares are those of so much time up to now.",
    )
    silent_window: timedelta = Field(
        default=timedelta(minutes=15),
        ge=timedelta(minutes=1),
        le=timedelta(hours=1),
        description="Events of a type in so much time are compared with those of the same time of earlier days.",
    )
    silent_share: float = Field(
        default=0.1,
        gt=0,
        lt=0.3,
        description="A type is silent below this share of what came on the quietest of those days; below three times "
        "that it warns.",
    )
    silent_days: int = Field(
        default=2, ge=1, le=7, description="Earlier days, of seven, that have to be known before a type can be silent."
    )
    least_events: int = Field(
        default=200, ge=1, le=1_000_000, description="Nothing is said of a share of fewer than so many."
    )
    least_expected: int = Field(
        default=30,
        ge=10,
        le=1_000_000,
        description="Nothing is said of a type's silence where fewer came on the quietest day.",
    )
    late_after: timedelta = Field(
        default=timedelta(minutes=10),
        gt=timedelta(0),
        description="An event is late that is so much older than the newest one read before it.",
    )
    broken_share: float = Field(default=0.02, gt=0, le=1, description="Of records: cannot be read as an event.")
    future_share: float = Field(default=0.01, gt=0, le=1, description="Of records: further ahead than may be.")
    late_share: float = Field(default=0.1, gt=0, le=1, description="Of events: late.")
    duplicate_share: float = Field(default=0.1, gt=0, le=1, description="Of events: sent before, by their ids.")
    unknown_share: float = Field(
        default=0.05, gt=0, le=1, description="Of clicks: on an id that the catalogue has not."
    )
    bot_share: float = Field(default=0.2, gt=0, le=1, description="Of events: of sessions that no human has.")
    value_share: float = Field(
        default=0.05, gt=0, le=1, description="Of values: far from what they were before, or not above 0."
    )
    title_share: float = Field(default=0.02, gt=0, le=1, description="Of items: without a title of their own.")
    price_share: float = Field(default=0.05, gt=0, le=1, description="Of items: without a price.")
    category_share: float = Field(default=0.05, gt=0, le=1, description="Of items: without a category.")
    picture_share: float = Field(
        default=0.1, gt=0, le=1, description="Of items: without a picture, where any item has one."
    )
    stock_share: float = Field(default=0.2, gt=0, le=1, description="Of items: without stock, where any item has it.")
    price_outlier_share: float = Field(
        default=0.01, gt=0, le=1, description="Of prices: 0, or far from those of the item's category."
    )
    bot_rate: int = Field(
        default=90, ge=2, le=100_000, description="A session that sends more events in a minute is no human's."
    )
    bot_breadth: int = Field(
        default=400,
        ge=2,
        le=10_000,
        description="A session that clicks more different items, with no pause of `session.idle_gap`, is no human's.",
    )
    bot_agents: bool = Field(
        default=True,
        description="A session whose `context.user_agent` is on the list of crawlers is no human's.",
    )
    bots_keep: timedelta = Field(
        default=timedelta(days=1),
        gt=timedelta(0),
        description="A session counts as no human's so long after its last event.",
    )
    max_bots: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Such sessions kept at once; of more, the oldest go."
    )
    recent_ids: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="Ids of events that duplicates are known by, kept by each worker: about 150 bytes each.",
    )
    max_sessions: int = Field(
        default=50_000, ge=1, le=10_000_000, description="Sessions that a worker looks at; of more, the idlest go."
    )
    max_cells: int = Field(
        default=10_000,
        ge=100,
        le=1_000_000,
        description="Counters kept of an hour, at most; of more, those that come later are left out, counted.",
    )

    @property
    def window_minutes(self) -> int:
        return int(self.window.total_seconds() // 60)

    @property
    def silent_minutes(self) -> int:
        return int(self.silent_window.total_seconds() // 60)

    @property
    def late_ms(self) -> int:
        return int(self.late_after.total_seconds() * 1000)

    @property
    def bots_keep_ms(self) -> int:
        return int(self.bots_keep.total_seconds() * 1000)
