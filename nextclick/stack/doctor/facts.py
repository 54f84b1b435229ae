"""What was found of a stack. None stands for what could not be looked at, or is not to be looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from state.health import RedisHealth


@dataclass(frozen=True, slots=True)
class DiskFacts:
    place: Path
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """What is at the gateway's address. `listens`: something does; `answers`: it is a gateway; `ready`: None where it
    did not say; `why`: what it said, or why it was not reached.
    """

    url: str
    listens: bool
    answers: bool = False
    ready: bool | None = None
    why: str = ""
    version: str | None = None


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic of Kafka, and its partitions; 0: it is not there."""

    name: str
    partitions: int


@dataclass(frozen=True, slots=True)
class FlowFacts:
    """A flow that should run, and records that it has not read; `moved`: how many it read while it was looked at."""

    name: str
    behind: int
    moved: int
    lost: int = 0


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """`broken`: why the artifacts cannot be loaded. `serving`: the registry's version, None without one. `damaged`:
    versions of the registry, and what is wrong with each.
    """

    artifacts: str
    broken: str | None = None
    serving: str | None = None
    damaged: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """`broken`: what is wrong with the snapshot that serves. `wanted_s`: for how long a new one has been asked for."""

    folder: Path
    broken: str | None = None
    wanted_s: float | None = None


@dataclass(frozen=True, slots=True)
class FeedFacts:
    """How the last pull of a feed went, in words; `outcome`: applied, unchanged, held, failed or waiting."""

    name: str
    outcome: str
    why: str


@dataclass(frozen=True, slots=True)
class Facts:
    """`two_redis`: what options and environment say, where they contradict each other. `made`: whether a stack ever ran
    in the folder. `parts`: names of the stack's processes, None where they can't be told. `other_host`: the address
    that others reach, None where only this machine does. `untold`: what could not be looked at, and why.
    """

    folder: Path
    url: str
    python: tuple[int, int]
    missing_packages: tuple[str, ...] = ()
    bad_settings: str | None = None
    two_redis: str | None = None
    odd_settings: tuple[str, ...] = ()
    embedded: bool = True
    made: bool = True
    runs: bool = False
    parts: frozenset[str] | None = None
    wanted_parts: frozenset[str] = frozenset()
    disk: DiskFacts | None = None
    gateway: GatewayFacts | None = None
    redis_place: str = ""
    redis: RedisHealth | None = None
    redis_away: str | None = None
    partitions: int = 0
    log_away: str | None = None
    topics: tuple[TopicFacts, ...] = ()
    flows: tuple[FlowFacts, ...] = ()
    models: ModelFacts | None = None
    index: IndexFacts | None = None
    feeds: tuple[FeedFacts, ...] = ()
    letters_last_hour: dict[str, int] = field(default_factory=dict)
    other_host: str | None = None
    keys: int | None = None
    keys_setting: str = "auto"
    open_files: tuple[Path, ...] = ()
    leftovers: tuple[Path, ...] = ()
    untold: dict[str, str] = field(default_factory=dict)
