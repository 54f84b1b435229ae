"""Settings that several services share; `contracts.read_settings` says how every service reads its own. They are read
once, at the door, and are frozen.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from contracts.addresses import MOST_SOCKET_PATH
from contracts.backends import Group as Group
from contracts.backends import LogSettings as LogSettings
from contracts.backends import RedisSettings as RedisSettings
from contracts.backends import ServedTls as ServedTls
from contracts.erasure_settings import ErasureOptions
from contracts.events import BUILT_IN
from contracts.judge_settings import JudgeOptions
from contracts.observed import LogsOptions, MetricsOptions, TracingOptions
from contracts.quality_settings import QualityOptions as QualityOptions
from contracts.read_settings import ReadSettings
from contracts.read_settings import wrong_setting as wrong_setting
from contracts.retrain_settings import RetrainOptions
from contracts.webhook_settings import WebhookOptions as WebhookOptions


class SessionSettings(Group):
    max_events: int = Field(default=50, ge=1, le=1000, description="Clicks kept in a session's window.")
    idle_gap: timedelta = Field(
        default=timedelta(minutes=30), description="A session ends after this long without a click."
    )

    @property
    def idle_gap_ms(self) -> int:
        return int(self.idle_gap.total_seconds() * 1000)


Meaning = Literal["view", "cart", "purchase", "like", "hide", "dislike", "unhide", "return", "none"]


class EventSettings(Group):
    types: dict[str, Meaning] = Field(
        default={},
        description="What event types of the site's own mean, by name: view, cart, purchase, like, hide, dislike, "
        'unhide, return or none. As JSON: {"wishlist_add": "like"}. A type that is not named means nothing.',
    )

    @field_validator("types")
    @classmethod
    def _are_types(cls, types: dict[str, Meaning]) -> dict[str, Meaning]:
        for name in types:
            if name == "impression" or not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
                raise ValueError(
                    "expected event types of at most 32 lower-case letters, digits and _, none of them impression, "
                    f"got {name!r:.60}"
                )
            if name in BUILT_IN:
                raise ValueError(
                    f"expected event types of the site's own, got {name!r}, which has a meaning of its own that no "
                    "setting changes: send another type"
                )
        return types


class ProfileOptions(Group):
    learn: bool = Field(default=True, description="Whether the stack runs the flow that learns visitors' profiles.")
    half_life: timedelta = Field(
        default=timedelta(days=14),
        gt=timedelta(0),
        description="A session or click of a profile counts half as much after this long.",
    )
    keep: timedelta = Field(
        default=timedelta(days=180),
        gt=timedelta(0),
        description="A profile is forgotten after this long without a click.",
    )
    max_events: int = Field(default=100, ge=1, le=1000, description="Clicks kept in a profile's window.")
    weights: dict[str, float] = Field(
        default={"view": 1.0, "cart": 3.0, "purchase": 5.0, "like": 3.0, "hide": -3.0, "dislike": -3.0, "return": -5.0},
        description="What a click of each type says of a visitor's taste, beside the others; 0 for a type not named.",
    )

    @property
    def half_life_ms(self) -> float:
        return self.half_life.total_seconds() * 1000

    @property
    def keep_ms(self) -> int:
        return int(self.keep.total_seconds() * 1000)


class AttributionOptions(Group):
    run: bool = Field(default=False, description="Whether the stack runs the flow that counts what came of pages.")
    click_window: timedelta = Field(
        default=timedelta(minutes=30),
        gt=timedelta(0),
        le=timedelta(days=30),
        description="A click counts for a page that was shown at most so long before.",
    )
    purchase_window: timedelta = Field(
        default=timedelta(days=7),
        gt=timedelta(0),
        le=timedelta(days=30),
        description="A cart, purchase or return counts for a page that was shown at most so long before.",
    )
    touch: Literal["last", "first", "linear"] = Field(
        default="last", description="Which of several such pages earns it: the last, the first, or all in equal parts."
    )
    keep: timedelta = Field(
        default=timedelta(days=35), gt=timedelta(days=30), description="Figures of an hour are kept so long."
    )
    max_pages: int = Field(default=500, ge=1, le=10_000, description="Pages kept of a visitor, at most.")
    max_outcomes: int = Field(
        default=500, ge=1, le=10_000, description="Clicks, carts, purchases and returns kept of a visitor, at most."
    )
    max_cells: int = Field(
        default=50_000,
        ge=1,
        le=10_000_000,
        description="Counters kept of an hour, at most; of more, those that come later are left out and counted.",
    )
    max_units: int = Field(
        default=200_000,
        ge=1,
        le=10_000_000,
        description="Sessions (and users) kept of an experiment, at most; those that come later are left out, counted.",
    )

    @property
    def click_ms(self) -> int:
        return int(self.click_window.total_seconds() * 1000)

    @property
    def purchase_ms(self) -> int:
        return int(self.purchase_window.total_seconds() * 1000)

    @property
    def longest_ms(self) -> int:
        return max(self.click_ms, self.purchase_ms)

    @property
    def unit_ms(self) -> int:
        """How long a visitor's facts are kept: an outcome may be a window late, and its page a window before it."""
        return 2 * self.longest_ms + 3_600_000

    @property
    def keep_ms(self) -> int:
        return int(self.keep.total_seconds() * 1000)


class TrendOptions(Group):
    half_life: timedelta = Field(
        default=timedelta(hours=12),
        gt=timedelta(0),
        description="Popularity and co-visitation count half as much after this long.",
    )
    recent_pace: float = Field(
        default=48.0,
        ge=1,
        description="What is recent is counted beside and fades so many times as fast: 15 minutes instead of 12 hours.",
    )
    emit_interval_ms: int = Field(default=1000, ge=0, description="An item's trends are written at most this often.")
    showings_interval_ms: int = Field(
        default=5000, ge=0, description="How often items were shown is written at most this often, for many at once."
    )
    forget_after: timedelta = Field(
        default=timedelta(days=7), description="An item without events for this long loses its trends."
    )
    sessions: int = Field(
        default=500_000,
        ge=1,
        le=100_000_000,
        description="Slots for sessions that are over; what else they held tells what goes with a session's items. "
        "A new session takes the slot of one before. About 200 bytes each in Redis, 300 in every gateway process.",
    )
    visitors: int = Field(
        default=3,
        ge=1,
        le=9,
        description="An id that is not in the catalogue gets trends once so many sessions clicked it within a day. "
        "Until then it waits, and its clicks with it. 1: with its first click.",
    )
    waiting: int = Field(
        default=50_000,
        ge=16,
        description="Ids that wait for more sessions or for the catalogue, at most; of more, those least clicked go. "
        "About 400 bytes each in the trends flow.",
    )
    max_items: int = Field(
        default=250_000,
        ge=16,
        description="Items that have trends, at most; of more, those least clicked go, everywhere. About 1 KB each in "
        "every gateway process and in Redis, 0.5 to 7 KB in the trends flow.",
    )
    open_bytes: int = Field(
        default=1_000_000_000,
        ge=100_000,
        description="Memory that the trends flow's open sessions may take, about, all partitions together. Of more, "
        "those longest without a click end early.",
    )
    catalogue_from_clicks: bool = Field(
        default=False,
        description="Clicks put an item into the catalogue, bare, if it is not there: once `visitors` sessions clicked "
        "it.",
    )

    @property
    def forget_after_ms(self) -> int:
        return int(self.forget_after.total_seconds() * 1000)


class CatalogueOptions(Group):
    max_items: int = Field(
        default=2_000_000,
        ge=1,
        description="Items in the catalogue, at most. A new one beyond is refused (507), or a dead letter "
        "(`catalogue_full`).",
    )
    max_bytes: int = Field(
        default=4_000_000_000,
        ge=1,
        description="Bytes of all items together as Redis keeps them, at most, with their vectors. At that, items are "
        "refused until some are deleted.",
    )


class UserOptions(Group):
    max_documents: int = Field(
        default=5_000_000, ge=1, description="Documents of users, at most. A new one beyond is refused (507)."
    )
    max_bytes: int = Field(
        default=4_000_000_000,
        ge=1,
        description="Bytes of all documents of users together, at most. What would make them more is refused (507).",
    )


class IndexSettings(Group):
    folder: str = Field(
        default="", description="Folder of index snapshots, shared by all gateway processes; empty keeps all in memory."
    )
    builder: bool = Field(
        default=False, description="The stack runs a builder of snapshots; `nextclick up` does unless told otherwise."
    )
    min_items: int = Field(
        default=30_000,
        ge=1,
        description="Items from which on the builder makes snapshots; fewer are compared one by one.",
    )
    exact_up_to: int = Field(
        default=30_000, ge=0, description="Items up to which every one is compared with the query."
    )
    precision: Literal["bf16", "f16", "f32"] = Field(
        default="bf16", description="Numbers in the graph's own copy of the vectors; answers are ranked in f32."
    )
    connectivity: int = Field(default=24, ge=4, le=128, description="Links of a graph node.")
    expansion_add: int = Field(default=160, ge=16, le=2048, description="Width of the search that places a new node.")
    expansion: int = Field(default=160, ge=16, le=4096, description="Width of a search: more recall, more time.")
    build_threads: int = Field(default=1, ge=1, le=256, description="Threads that build a graph.")
    delta_share: float = Field(
        default=0.1, gt=0, le=1, description="Changed items, as a share of the snapshot's, at which it is built anew."
    )
    tombstone_share: float = Field(
        default=0.2, gt=0, le=1, description="Deleted items, as a share of all rows, at which it is built anew."
    )
    recall_floor: float = Field(
        default=0.95, ge=0, le=1, description="Recall under which it is built anew, and under which none is published."
    )
    canary_share: float = Field(
        default=0.01, ge=0, le=1, description="Share of live searches that are compared with an exact one."
    )
    check: timedelta = Field(
        default=timedelta(seconds=1), gt=timedelta(0), description="How often processes look for a new snapshot."
    )
    store: str = Field(
        default="",
        description="Object store that snapshots are copied to, and that a builder with none starts from, such as "
        "s3://bucket/index.",
    )
    from_store: bool = Field(
        default=False, description="The builder builds nothing: it fetches what another machine's pushed to the store."
    )
    store_check: timedelta = Field(
        default=timedelta(seconds=10), gt=timedelta(0), description="How often the builder looks into the store."
    )
    shards: int = Field(
        default=0, ge=0, le=256, description="Processes that search a share of the items each; 0: every gateway does."
    )
    shard_addresses: str = Field(
        default="",
        description="Where the shards are asked, the first one's first, parted by commas: `unix:PATH`, or `HOST:PORT` "
        "of a private network. Empty: unix sockets beside `index.folder`.",
    )
    shard_deadline_ms: int = Field(
        default=50, ge=1, le=10_000, description="How long a gateway waits for the shards; a late one is left out."
    )


class RelayOptions(Group):
    socket: str = Field(
        default="",
        description="Path of the unix socket where the machine's relay of trends listens: `python -m state.relay` "
        "serves there, and gateways that have it read trends there instead of from Redis. Empty: none.",
    )
    memory: str = Field(
        default="",
        description="Folder of what the relay keeps, which gateways map: of a file system in memory, or it costs more "
        "than it saves. Empty: /dev/shm.",
    )
    run: bool = Field(
        default=False,
        description="The stack runs a relay: worth it where a machine has more than a few gateway processes.",
    )

    @field_validator("socket")
    @classmethod
    def _fits(cls, path: str) -> str:
        if len(path.encode()) > MOST_SOCKET_PATH:
            raise ValueError(f"expected a path of at most {MOST_SOCKET_PATH} bytes, got {len(path.encode())}")
        return path


class ServiceSettings(ReadSettings):
    """The base of every service's settings object: what all of them must agree on."""

    redis: RedisSettings = RedisSettings()
    log: LogSettings = LogSettings()
    session: SessionSettings = SessionSettings()
    events: EventSettings = EventSettings()
    trend: TrendOptions = TrendOptions()
    profile: ProfileOptions = ProfileOptions()
    attribution: AttributionOptions = AttributionOptions()
    judge: JudgeOptions = JudgeOptions()
    quality: QualityOptions = QualityOptions()
    retrain: RetrainOptions = RetrainOptions()
    catalogue: CatalogueOptions = CatalogueOptions()
    users: UserOptions = UserOptions()
    erasure: ErasureOptions = ErasureOptions()
    index: IndexSettings = IndexSettings()
    relay: RelayOptions = RelayOptions()
    webhooks: WebhookOptions = WebhookOptions()
    metrics: MetricsOptions = MetricsOptions()
    logs: LogsOptions = LogsOptions()
    tracing: TracingOptions = TracingOptions()
    artifacts: str = Field(default="", description="Folder of model artifacts; empty serves with the general model.")
    text_model: str = Field(
        default="",
        description="Text model (`minilm`, or a sentence-transformers folder) of a session model that was trained with "
        "one; empty: where training found it.",
    )
