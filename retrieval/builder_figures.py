"""What the builder of snapshots shows of itself on its `/metrics`."""

from __future__ import annotations

import time
from typing import Final

from contracts.figures import Figures

FIGURES: Final = Figures("nextclick_index_")
_looked_at = FIGURES.gauge("looked_timestamp_seconds", "When the builder last looked whether a snapshot is due.")
_failing = FIGURES.gauge("failing", "1 while looking or building fails.")
_failures = FIGURES.counter("failures", "Times that looking or building failed.")
_builds = FIGURES.counter("builds", "Snapshots that were published.")
_build_s = FIGURES.gauge("build_seconds", "How long the last snapshot took.")
_published_at = FIGURES.gauge("published_timestamp_seconds", "When this process last published a snapshot; 0: never.")
_items = FIGURES.gauge("items", "Items of the catalogue's table.")
_changed = FIGURES.gauge("changed_ratio", "Items that changed since the snapshot, as a share of it.")
_tombstones = FIGURES.gauge("tombstone_ratio", "Deleted items among all rows.")
_recall = FIGURES.gauge("recall_ratio", "Recall of the snapshot when it was last compared with an exact search.")


def looked(items: int, changed: float, tombstones: float, recall: float | None) -> None:
    """Show what a look found. recall: None where none was measured."""
    _looked_at.set(time.time())
    _items.set(items)
    _changed.set(changed)
    _tombstones.set(tombstones)
    if recall is not None:
        _recall.set(recall)


def built(took_s: float) -> None:
    _builds.add(1)
    _build_s.set(took_s)
    _published_at.set(time.time())


def went(*, well: bool) -> None:
    """Say how the last look, or build, went."""
    _failing.set(float(not well))
    if not well:
        _failures.add(1)
