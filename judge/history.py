"""The looks that a report remembers, thinned out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from contracts.experiment_reports import Look

MOST_LOOKS: Final = 200


def thinned(looks: Sequence[Look], most: int = MOST_LOOKS) -> list[Look]:
    """Return at most so many looks, in order. Of more, that one goes whose neighbours are the closest together: so they
    stay about evenly apart, the first and the last among them. The treatments of one look stay together.
    """
    times = sorted({look.at_ms for look in looks})
    while len(times) > most:
        spans = [after - before for before, after in zip(times, times[2:], strict=False)]
        del times[1 + spans.index(min(spans))]
    chosen = set(times)
    return [look for look in looks if look.at_ms in chosen]
