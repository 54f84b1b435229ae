"""What is not as it must be, counted and said."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

_SUMS = 1e-5  # of sums: they are kept as 32-bit floats, and added in another order
SHOWN = 20


@dataclass(slots=True)
class Differences:
    """What is not as it must be. `lost` and `twice` count events; `said` says what is different, the first ones."""

    lost: int = 0
    twice: int = 0
    said: list[str] = field(default_factory=list)
    found: int = 0

    def __bool__(self) -> bool:
        return bool(self.lost or self.twice or self.found)

    def say(self, what: str) -> None:
        self.found += 1
        if len(self.said) < SHOWN:
            self.said.append(what)

    def counted(self, what: str, expected: int, got: int) -> None:
        """Take a number of events that must be so many."""
        if expected != got:
            self.lost += max(0, expected - got)
            self.twice += max(0, got - expected)
            self.say(f"{what}: expected {expected:,}, got {got:,}")

    def same(self, what: str, expected: object, got: object) -> None:
        if expected != got:
            self.say(f"{what}: expected {expected!r:.200}, got {got!r:.200}")

    def close(self, what: str, expected: float, got: float) -> None:
        if not math.isclose(expected, got, rel_tol=_SUMS, abs_tol=1e-9):
            self.say(f"{what}: expected {expected:.9g}, got {got:.9g}")
