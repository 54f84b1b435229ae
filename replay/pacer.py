"""When each event is meant to be sent: a pure function of what was recorded. Nothing here waits or looks at a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Pace(Protocol):
    """Says when an event is due."""

    def offset_s(self, index: int, ts_ms: int, first_ms: int) -> float:
        """Return seconds after the start for event `index` (from 0), recorded at `ts_ms`; the first was at `first_ms`.

        Never falls from one event to the next, as long as `ts_ms` does not.
        """


@dataclass(frozen=True, slots=True)
class TimesFaster:
    """The recorded rhythm, `speed` times as fast: a recorded hour at 60 takes a minute."""

    speed: float

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"expected a speed above 0, got {self.speed}")

    def offset_s(self, index: int, ts_ms: int, first_ms: int) -> float:
        return (ts_ms - first_ms) / 1000.0 / self.speed

    def __str__(self) -> str:
        return f"{self.speed:g} times the recorded speed"


@dataclass(frozen=True, slots=True)
class FixedRate:
    """Evenly, `rate` events a second, whatever the recorded times say."""

    rate: float

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ValueError(f"expected a rate above 0, got {self.rate}")

    def offset_s(self, index: int, ts_ms: int, first_ms: int) -> float:
        return index / self.rate

    def __str__(self) -> str:
        return f"{self.rate:g} events a second, evenly"
