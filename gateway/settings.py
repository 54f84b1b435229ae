"""The gateway's settings. Read once, when the process starts."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final, Literal

from pydantic import ConfigDict, Field, field_validator

from contracts.addresses import is_loopback
from contracts.api import FrequencyCap, Placement
from contracts.settings import Group, ServedTls, ServiceSettings
from rerank.query import PipelineSettings
from rights.capsule import SHORTEST_KEY
from rights.consent import DNT, GPC, Rules

OPEN_TO_ANYONE: Final = "open-to-anyone"
_HOST: Final = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+|\*")


class GatewayOptions(ServedTls):
    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    keys: Literal["auto", "required", "open-to-anyone"] = Field(
        default="auto",
        description="Who needs an API key. `auto`: nobody on a loopback address; on any other everybody, and it does "
        "not start before there is a key. `required`: everybody, on any address. `open-to-anyone`: nobody, and whoever "
        "reaches the port may send events, ask, and write the catalogue.",
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description="Names by which this machine may be called (the Host header, without a port), beside localhost, "
        "loopback addresses and names without a dot. Checked on a loopback address without keys, and where any are "
        "set; * is any.",
    )
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; all processes share it.")
    processes: int = Field(default=1, ge=0, le=256, description="Processes; 0 is one per core.")
    cors_origins: tuple[str, ...] = Field(
        default=(), description="Origins that may call from a browser, such as https://shop.example; * is any."
    )
    catalogue_origins: tuple[str, ...] = Field(
        default=(),
        description="Origins whose pages may change the catalogue, beside the gateway's own. cors_origins do not open "
        "that; a browser's page needs both.",
    )
    caps: dict[Placement, FrequencyCap] = Field(
        default={},
        description="Frequency caps: at most so many pages of a placement for one visitor (`user_id`, else the "
        'session) within a time; further ones are empty. As JSON: {"push": {"pages": 1, "within": "P1D"}}.',
    )
    drift_every: int = Field(
        default=20,
        ge=0,
        description="Of so many home pages of known sessions one is compared with what the re-ranker learnt from; 0: "
        "none.",
    )
    drift_window: timedelta = Field(
        default=timedelta(minutes=30),
        ge=timedelta(seconds=10),
        description="Drift is told of the last one to two such times.",
    )
    deadline_ms: int = Field(default=80, ge=5, le=10_000, description="Time to answer a recommendation in.")
    max_body_bytes: int = Field(
        default=1_048_576, ge=1024, description="Largest body; of a bulk load, the longest line."
    )
    max_bulk_bytes: int = Field(
        default=268_435_456, ge=1024, description="Largest body of a bulk load, decompressed: send more in parts."
    )
    max_bulk_lines: int = Field(default=1_000_000, ge=1, description="Most lines of a bulk load: send more in parts.")
    max_held_bytes: int = Field(
        default=268_435_456,
        ge=1024,
        description="Bytes of bodies that are still coming, of a process: above it bodies of more than 64 KiB get 503.",
    )
    header_timeout_s: float = Field(
        default=10.0, gt=0, description="How long a new connection may take to send the head of its first request."
    )
    max_connections: int = Field(
        default=0,
        ge=0,
        description="Most connections of a process; 0 is what its descriptors allow, less 128, and 8192 at most.",
    )
    max_connections_client: int = Field(
        default=0,
        ge=0,
        description="Most connections of one address; 0 is half of all. Behind a proxy all come from one.",
    )
    address_rate: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Requests a second that one address may send to a process, beyond which it is answered 429; 0 sets "
        "no limit. Of IPv6 a /64 counts as one. Behind a proxy all come from one: have it limit them.",
    )
    address_burst: int = Field(default=0, ge=0, description="How many of them may come at once; 0 is twice the rate.")
    origin_rate: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Requests a second that pages of one origin may send to a process, all visitors together, beyond "
        "which they are answered 429; 0 sets no limit.",
    )
    origin_burst: int = Field(default=0, ge=0, description="How many of them may come at once; 0 is twice the rate.")
    body_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="How long a body may keep the gateway waiting; a second more for each 10,000 bytes that came.",
    )
    max_age: timedelta | None = Field(
        default=None,
        ge=timedelta(0),
        description="Clicks older than this are refused (`too_old`). Not set: the idle gap less five minutes, or half "
        "of it where that is more, so that no click that is taken can be late.",
    )
    key_rate: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Requests a second that one API key may be sent with to a process; 0 sets no limit.",
    )
    key_burst: int = Field(default=0, ge=0, description="How many of them may come at once; 0 is twice the rate.")
    answer_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="How long a client may let its answers wait before it reads on; a second more for each 10,000 "
        "bytes that wait.",
    )
    max_events: int = Field(default=1000, ge=1, description="Events (or stock updates) in one request.")
    batch: int = Field(default=16, ge=1, le=256, description="Recommendations computed as one array batch.")
    compute_thread: bool = Field(
        default=False, description="Rank in a thread beside the event loop, so that sockets are read meanwhile."
    )
    longest_wait: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="A recommendation that would wait for more than this share of the deadline is answered with 503; 0 "
        "refuses none for that.",
    )
    max_waiting: int = Field(default=512, ge=1, description="Recommendations waiting before 503.")
    max_waiting_events: int = Field(default=20_000, ge=1, description="Events waiting for the log before 503.")
    max_waiting_impressions: int = Field(
        default=20_000, ge=1, description="Impressions waiting for the log before they are dropped (and counted)."
    )
    visible_wait_ms: int = Field(
        default=2000, ge=0, description="How long a catalogue write waits to be seen by recommendations."
    )
    together: int = Field(
        default=1,
        ge=1,
        description="Processes that share the port: ready once so many listen. Set by what starts them.",
    )
    listen_within_s: float = Field(
        default=10.0, ge=0, description="The port is opened when the tables are loaded; after this long in any case."
    )
    leave_s: float = Field(
        default=0.0,
        ge=0,
        description="On shutdown, how long it serves on while /readyz says 503: as long as a load balancer takes to "
        "look.",
    )
    keepalive_grace_s: float = Field(
        default=1.0,
        ge=0,
        description="On shutdown, how long kept connections may bring one more request, which is answered.",
    )
    drain_s: float = Field(default=5.0, ge=0, description="On shutdown, time to write what waits.")
    demo_page: bool = Field(default=False, description="Serve the demo shop at /.")
    demo_currency: str = Field(
        default="EUR",
        pattern=r"^[A-Z]{3}$",
        description="Currency (ISO 4217) in which the demo shop shows prices; an item's own `attributes.currency` "
        "goes before it.",
    )

    @property
    def drift_window_ms(self) -> int:
        return int(self.drift_window.total_seconds() * 1000)

    @property
    def asks_keys(self) -> bool:
        """Whether requests need an API key."""
        return self.keys == "required" or (self.keys == "auto" and not is_loopback(self.host))

    @field_validator("hosts")
    @classmethod
    def _are_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for name in hosts:
            if not _HOST.fullmatch(name):
                raise ValueError("expected names such as shop.example, without scheme and port")
        return hosts


class RecordOptions(Group):
    to: str = Field(default="", description="Folder to record accepted events into; empty records nothing.")
    share: float = Field(default=1.0, gt=0, le=1, description="Share of the sessions to record; sessions stay whole.")
    events: int = Field(default=100_000, ge=1, description="Events of one file, after which the next begins.")
    seconds: float = Field(default=3600.0, gt=0, description="A file is finished after this long, full or not.")
    files: int = Field(default=100, ge=1, description="Files kept; the oldest goes when another is made.")
    max_waiting: int = Field(
        default=20_000, ge=1, description="Events waiting to be recorded before they are left out (and counted)."
    )


class AnswerOptions(Group):
    to: str = Field(
        default="",
        description="Folder to keep in what answers were made of, for `nextclick explain`; empty keeps none.",
    )
    share: float = Field(default=1.0, gt=0, le=1, description="Share of the answers to keep.")
    keep: timedelta = Field(
        default=timedelta(days=1), gt=timedelta(0), description="How long answers are kept; files hold an hour."
    )
    bytes: int = Field(default=2_000_000_000, ge=1_000_000, description="The oldest go when there are more bytes.")
    max_waiting: int = Field(
        default=256, ge=1, description="Answers waiting to be written before they are left out (and counted)."
    )


class ConsentOptions(Group):
    required: bool = Field(
        default=False,
        description="Whether events and requests without `consent: true` count as without consent: nothing is kept of "
        "them. Not set: those with `consent: false`.",
    )
    gpc: bool = Field(default=False, description="Whether the header `Sec-GPC: 1` counts as no consent.")
    dnt: bool = Field(default=False, description="Whether the header `DNT: 1` counts as no consent.")

    @property
    def rules(self) -> Rules:
        return Rules(self.required, (*((GPC,) if self.gpc else ()), *((DNT,) if self.dnt else ())))


class CapsuleOptions(Group):
    key: str = Field(
        default="",
        repr=False,
        description=f"What capsules are signed with, at least {SHORTEST_KEY} characters. Empty: a secret that the "
        "deployment's gateways share in Redis.",
    )
    old_key: str = Field(
        default="",
        repr=False,
        description="The key before, whose capsules are still taken: needed for an idle gap after a change of keys.",
    )

    @field_validator("key", "old_key")
    @classmethod
    def _is_long_enough(cls, key: str) -> str:
        if key and len(key) < SHORTEST_KEY:
            raise ValueError(f"expected at least {SHORTEST_KEY} characters, such as `openssl rand -hex 32` prints")
        return key


class RetentionOptions(Group):
    log: timedelta | None = Field(
        default=None,
        gt=timedelta(0),
        description="Redis log: clicks and impressions older than this go, once flows have applied them. Not set: they "
        "go by number and bytes (`log.kept_records`, `log.kept_bytes`). With Kafka set the topics' `retention.ms`.",
    )
    dead_letters: timedelta | None = Field(
        default=None,
        gt=timedelta(0),
        description="Dead letters older than this go. Not set: they go by number and bytes (`log.dead_letter_bytes`).",
    )
    audit: timedelta | None = Field(
        default=None,
        gt=timedelta(0),
        description="Lines of the audit log older than this go. Not set: they go by number.",
    )
    recordings: timedelta | None = Field(
        default=None,
        gt=timedelta(0),
        description="Recordings that were finished longer ago than this go. Not set: they go by number "
        "(`record.files`).",
    )
    ended: timedelta | None = Field(
        default=None,
        gt=timedelta(0),
        description="Ended sessions, which hold items and no name, go when they began longer ago than this: looked for "
        "every hour. Not set: they go when others take their place (`trend.sessions`).",
    )
    shown: timedelta = Field(
        default=timedelta(days=30),
        ge=timedelta(minutes=1),
        le=timedelta(days=30),
        description="Pages that a visitor was shown are remembered so long after the last, for fatigue and frequency "
        "caps: no shorter than these look back.",
    )


class GatewaySettings(ServiceSettings):
    """Everything that one gateway process is told."""

    gateway: GatewayOptions = GatewayOptions()
    record: RecordOptions = RecordOptions()
    answers: AnswerOptions = AnswerOptions()
    consent: ConsentOptions = ConsentOptions()
    capsule: CapsuleOptions = CapsuleOptions()
    retention: RetentionOptions = RetentionOptions()
    pipeline: PipelineSettings = PipelineSettings()
