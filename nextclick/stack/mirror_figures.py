"""What a mirror tells of itself."""

from __future__ import annotations

from contracts.figures import Figures
from eventlog.mirroring import LogMirror

FIGURES = Figures("nextclick_mirror_")
_RECORDS = FIGURES.counter("records", "Records copied.", "topic")
_BEHIND = FIGURES.gauge("behind_records", "Records of the original that the copy has not.", "topic")
_TRIMMED = FIGURES.counter("trimmed", "Records that the original had no more when their turn came.", "topic")


def tell(copying: LogMirror) -> None:
    """Take over what a mirror has counted."""
    for topic, one in copying.topics.items():
        _RECORDS.set(one.copied.records, topic)
        _BEHIND.set(one.copied.behind, topic)
        _TRIMMED.set(one.copied.trimmed, topic)
