"""When a process that died is started again: at once after a long life, with growing pauses after short ones. Pure.

There is no last try. Times are seconds of one monotonic clock, and arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

QUICK_DEATH_S = 10.0
"""A process that dies sooner than this after its start did not start."""

PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""The pause before the next start, by the number of quick deaths in a row; the last one for all that follow."""

BLAMELESS_PAUSE_S = 1.0
"""The longest pause when the process did nothing wrong: it was killed, or the machine did not let it start."""


def pause_s(quick_deaths: int, *, blameless: bool = False) -> float:
    """Return the pause before the next start after so many quick deaths in a row."""
    pause = PAUSES_S[min(quick_deaths, len(PAUSES_S) - 1)]
    return min(pause, BLAMELESS_PAUSE_S) if blameless else pause


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one process and its successors.

    `down_since` is set from a death until a successor runs well; `next_start` while none runs.
    """

    started_at: float = 0.0
    quick_deaths: int = 0
    restarts: int = 0
    outage_starts: int = 0
    down_since: float | None = None
    next_start: float | None = None
    pause_s: float = 0.0
    reason: str = ""

    def started(self, now_s: float) -> Fate:
        """Return its fate after a start; one that follows a death is a restart."""
        again = int(self.down_since is not None)
        return replace(
            self,
            started_at=now_s,
            next_start=None,
            restarts=self.restarts + again,
            outage_starts=self.outage_starts + again,
        )

    def died(self, now_s: float, reason: str, *, blameless: bool = False) -> Fate:
        """Return its fate after a death, with the time of its next start."""
        quick = self.quick_deaths + 1 if now_s - self.started_at < QUICK_DEATH_S else 0
        pause = pause_s(quick, blameless=blameless)
        return self._waiting(now_s, reason, quick, pause)

    def not_started(self, now_s: float, reason: str) -> Fate:
        """Return its fate after a start that the machine refused (no descriptors, no memory): counts like a death."""
        quick = self.quick_deaths + 1
        return self._waiting(now_s, reason, quick, pause_s(quick, blameless=True))

    def well(self) -> Fate:
        """Return its fate once it runs well again."""
        return replace(self, down_since=None, outage_starts=0, reason="")

    def _waiting(self, now_s: float, reason: str, quick: int, pause: float) -> Fate:
        down_since = now_s if self.down_since is None else self.down_since
        next_start = now_s + pause
        return replace(
            self, quick_deaths=quick, down_since=down_since, next_start=next_start, pause_s=pause, reason=reason
        )
