"""What a run may have under way, how it stands, and what it counted: the records of the player."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from replay.measure.timings import Timings

TAKEN, REJECTED, FAILED = range(3)
"""What became of an event."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be under way. `waiting` bounds memory when the target is slower than the schedule; a target that
    takes nothing for `patience_s` is given up, and what is left counts as failed. So does what still waits `drain_s`
    after the last event was due.
    """

    connections: int = 32
    batch: int = 100
    waiting: int = 200_000
    sessions: int = 500_000
    patience_s: float = 60.0
    drain_s: float = inf


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How a run stands. `behind_s` is how late the oldest event that still waits is; `p50_ms` and `p99_ms` are of the
    latest events, from when they were due. `hits` of the `questions` had the visitor's real next click in the answer.
    """

    elapsed_s: float
    released: int
    accepted: int
    rejected: int
    failed: int
    waiting: int
    in_flight: int
    retries: int
    behind_s: float
    questions: int = 0
    hits: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0

    @property
    def settled(self) -> int:
        return self.accepted + self.rejected + self.failed


Progress = Callable[[Snapshot], None]


@dataclass(slots=True)
class Played:
    """What a run counted and measured; grows while it runs. `lag_s` is how late the sender itself released events;
    `outcomes` says of every entry of the timings what became of it.
    """

    timings: Timings = field(default_factory=Timings)
    outcomes: array[int] = field(default_factory=lambda: array("B"))
    lag_s: array[float] = field(default_factory=lambda: array("f"))
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    retries: int = 0
    elapsed_s: float = 0.0
    overflowed: bool = False
    stopped: bool = False
    abandoned: bool = False
    cut: bool = False

    @property
    def gave_up(self) -> bool:
        """Whether nothing more is sent."""
        return self.abandoned or self.cut
