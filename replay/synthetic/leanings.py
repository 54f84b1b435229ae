"""What shoppers lean to by device, hour, weekday and season: tastes of the moment, beside those of a visitor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from replay.synthetic.words import DEVICES

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]

_HOUR_MS: Final = 3_600_000
_PERIODS_MS: Final = {"hour": 24 * _HOUR_MS, "weekday": 7 * 24 * _HOUR_MS, "season": 365.25 * 24 * _HOUR_MS}


@dataclass(frozen=True, slots=True)
class Leanings:
    """How strongly (in log odds) an item is wanted at its own time, or on its own device, more than at others.

    Every item has an hour, a weekday, a time of the year and a device that are its own, drawn by `seed`.
    """

    device: float = 0.0
    hour: float = 0.0
    weekday: float = 0.0
    season: float = 0.0
    seed: int = 1

    def of(self, items: int) -> Lean:
        """Return what the items of a shop are wanted more or less by."""
        rng = np.random.default_rng(self.seed)
        peaks = {name: rng.random(items) for name in _PERIODS_MS}
        return Lean(self, rng.integers(len(DEVICES), size=items), peaks)


@dataclass(frozen=True, slots=True)
class Lean:
    """The device of each item (n,), and by cycle when it is wanted most, (n,), as a share of the cycle."""

    leanings: Leanings
    device: Int64s
    peaks: dict[str, Float64s]

    def pull(self, shelf: Int64s, device: Int64s, now_ms: Int64s) -> Float64s:
        """Return what to add to the wish for items (b, l), for visitors of `device` (b,) at `now_ms` (b,)."""
        found: Float64s = self.leanings.device * (self.device[shelf] == device[:, None])  # (b, l)
        for name, period_ms in _PERIODS_MS.items():
            strength = getattr(self.leanings, name)
            if strength:
                phase = (now_ms / period_ms)[:, None] - self.peaks[name][shelf]
                found = found + strength * np.cos(2 * np.pi * phase)
        return found
