"""What a schedule tells gateways of its feeds: a document in Redis, when something changed and once a minute."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from contracts.errors import NextclickError, StateUnavailable
from contracts.feed_status import FeedFault, FeedsStatus, FeedStatus
from contracts.masked import masked
from contracts.settings import RedisSettings
from nextclick.stack.feeds.definition import FeedFolder
from nextclick.stack.feeds.pull import REPORT
from nextclick.stack.feeds.report import read_report
from state.feed_status import FeedStatusStore

log = logging.getLogger("nextclick.feeds")

MOST_PULLS: Final = 5
"""Pulls of a feed that are told, the newest."""
MOST_FAULTS: Final = 20
"""Faults of a feed's last pull that are told, the first."""
MOST_FEEDS: Final = 100
"""Feeds that are told, by their names."""
EVERY_MS: Final = 60_000


def status_of(folder: FeedFolder, running: str | None, now_ms: int) -> FeedsStatus:
    """Return what is known of the feeds of a folder; `running` is the one that is being pulled. One that cannot be read
    is left out.
    """
    found = (_status_of_one(folder, name, running=name == running) for name in folder.names()[:MOST_FEEDS])
    return FeedsStatus(at_ms=now_ms, feeds=tuple(one for one in found if one is not None))


def _status_of_one(folder: FeedFolder, name: str, *, running: bool) -> FeedStatus | None:
    try:
        feed, state = folder.read(name), folder.state(name)
    except NextclickError:
        return None
    pulls = [pull.model_copy(update={"why": masked(pull.why)}) for pull in state.pulls[:MOST_PULLS]]
    return FeedStatus(
        name=name,
        source=feed.shown_source,
        format=feed.format,
        every_s=feed.every_s,
        next_ms=state.next_ms,
        running=running,
        well_ms=state.well_ms,
        pulls=tuple(pulls),
        faults=tuple(filter(None, map(_fault, read_report(folder.place(name) / REPORT, MOST_FAULTS)))),
    )


def _fault(said: dict[str, Any]) -> FeedFault | None:
    """Return what a line of a report says; None for one that an older release wrote otherwise."""
    try:
        return FeedFault(**{**said, "reason": masked(str(said["reason"]))})
    except (ValueError, LookupError):
        return None


class Telling:
    """Tells Redis what there is to tell. Mutable; a Redis that is away is told later, and nothing waits for that."""

    def __init__(self, redis: Callable[[], RedisSettings]) -> None:
        self._redis = redis
        self._store: FeedStatusStore | None = None
        self._told: tuple[object, int] | None = None
        self._failed = False

    def look(self, folder: FeedFolder, mark: object, running: str | None, now_ms: int) -> None:
        """Tell of the feeds, where `mark` or the one that is pulled is another than before, or a minute is over."""
        about = (mark, running)
        if self._told is not None and self._told[0] == about and 0 <= now_ms - self._told[1] < EVERY_MS:
            return
        if self._told is None and not folder.names():  # nobody has feeds here, and nothing was ever told
            return
        self._told = (about, now_ms)
        try:
            if self._store is None:
                self._store = FeedStatusStore(self._redis())
            self._store.write(status_of(folder, running, now_ms))
            self._failed = False
        except StateUnavailable as error:
            if not self._failed:
                log.warning("feeds: gateways are not told how they do: %s", masked(str(error)))
            self._failed = True

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
