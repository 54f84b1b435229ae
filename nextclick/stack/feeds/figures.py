"""What `nextclick feed run` shows of its pulls on its `/metrics`."""

from __future__ import annotations

from typing import Final

from contracts.feed_status import FeedPull as Pull
from contracts.figures import Figures

FIGURES: Final = Figures("nextclick_feeds_")
_pulls = FIGURES.counter("pulls", "Pulls of a feed, by what came of them.", "feed", "outcome")
_changes = FIGURES.counter("changes", "Changes that pulls of a feed made: put, stock, delete.", "feed", "kind")
_well_at = FIGURES.gauge("success_timestamp_seconds", "When a feed was applied last, or was as it had been.", "feed")


def count(name: str, pull: Pull) -> None:
    """Count a pull that ended."""
    _pulls.add(1, name, pull.outcome)
    for kind, changes in (("put", pull.put), ("stock", pull.stock), ("delete", pull.deleted)):
        _changes.add(changes, name, kind)
    if pull.outcome in ("applied", "unchanged"):
        _well_at.set(pull.ended_ms / 1000, name)
