"""Who is taken in when more ask than can be answered: those who would be answered soon enough."""

from __future__ import annotations

from gateway.coalesce import Overloaded

_LEARNING = 0.2
_OUTLIER = 5.0
"""A batch that was held up (a pause of the machine) counts as at most this many times the usual pace."""


class Admission:
    """Estimates how long whoever comes now would wait, from those who wait and the pace at which answers leave.

    The pace holds what one answer of a full batch costs this process: ranking in wall-clock time, so that what else
    runs on the machine counts, and what lies between two batches (HTTP) in processor time, so that idling does not.
    For one event loop; times are in seconds of one clock.
    """

    def __init__(self, longest_s: float, *, pace_s: float = 5e-4) -> None:
        """`longest_s`: who would wait longer is refused; 0 refuses nobody. `pace_s`: an answer's, at first."""
        self._longest_s = longest_s
        self.pace_s = pace_s
        self.inside = 0
        """Questions that were taken and are not answered."""
        self._last_end = 0.0

    @property
    def wait_s(self) -> float:
        """How long the next question would wait for those before it."""
        return self.inside * self.pace_s

    def enter(self, count: int = 1) -> None:
        """Take questions in that are answered together; call `leave` when they are. Raises Overloaded for those that
        would wait too long.

        Who finds nobody before is always taken.
        """
        if self._longest_s and self.inside and self.wait_s > self._longest_s:
            raise Overloaded(
                f"expected an answer to wait at most {1000 * self._longest_s:.0f} ms, it would wait "
                f"{1000 * self.wait_s:.0f}: retry, or start more gateway processes"
            )
        self.inside += count

    def leave(self, count: int = 1) -> None:
        self.inside -= count

    def answered(self, began: float, ended: float, count: int, *, between: float = 0.0, backlog: bool) -> None:
        """Learn from a batch of `count` that was ranked from `began` to `ended`.

        `between`: processor seconds of this process from the end of the batch before to `began`; no more than the
        time that passed counts. `backlog`: more wait to be ranked than the batch took. Without one the batch may be
        of one or two, which cost nearly as much as a full one: it counts only where it is faster.
        """
        apart = began - self._last_end
        since = min(between, apart) if self._last_end and apart < self._longest_s else 0.0
        pace_s = min((ended - began + since) / count, _OUTLIER * self.pace_s)
        if backlog or pace_s < self.pace_s:
            self.pace_s += _LEARNING * (pace_s - self.pace_s)
        self._last_end = ended
