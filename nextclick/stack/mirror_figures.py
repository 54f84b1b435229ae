"""What a mirror tells of itself, and when it copies documents."""

from __future__ import annotations

import logging
import time

from contracts.errors import StateUnavailable
from contracts.figures import Figures
from contracts.outage import Outage
from contracts.settings import RedisSettings
from eventlog.mirroring import LogMirror
from state.document_copies import copy_documents

FIGURES = Figures("nextclick_mirror_")
_RECORDS = FIGURES.counter("records", "Records copied.", "topic")
_BEHIND = FIGURES.gauge("behind_records", "Records of the original that the copy has not.", "topic")
_TRIMMED = FIGURES.counter("trimmed", "Records that the original had no more when their turn came.", "topic")

_COPIED_AT = FIGURES.gauge("documents_copied_at_seconds", "When documents were copied last, in seconds since 1970.")

_SEEN_AT = FIGURES.gauge(
    "original_seen_at_seconds", "When the original answered last, in seconds since 1970; 0: never."
)


class DocumentCopier:
    """Copies documents every so many seconds; one that fails is said once, and tried at the next look."""

    def __init__(self, source: RedisSettings, target: RedisSettings, every_s: float) -> None:
        self._source, self._target, self._every_s = source, target, every_s
        self._due_s = 0.0
        self._outage = Outage(logging.getLogger("nextclick.mirror"), "documents: ")
        self.copied_at_s = 0.0

    def look(self, now_s: float) -> None:
        """Copy them if it is time."""
        if now_s < self._due_s:
            return
        try:
            copy_documents(self._source, self._target)
        except StateUnavailable as error:
            self._outage.failed(error)
            return
        self._outage.over()
        self._due_s, self.copied_at_s = now_s + self._every_s, time.time()


def tell(copying: LogMirror, documents: DocumentCopier) -> None:
    """Take over what a mirror has counted."""
    _COPIED_AT.set(documents.copied_at_s)
    if copying.seen_s is not None:
        _SEEN_AT.set(time.time() - (time.monotonic() - copying.seen_s))
    for topic, one in copying.topics.items():
        _RECORDS.set(one.copied.records, topic)
        _BEHIND.set(one.copied.behind, topic)
        _TRIMMED.set(one.copied.trimmed, topic)
