"""One pull of a feed: what a kill left over is applied, the feed is read and compared, and what changed is applied.

Reading changes nothing but what is staged. So a feed that is cut off, damaged or too large changes nothing at all, and
one that lost too much can wait for somebody to look at it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from connect.feeds.formats import Taken, read_feed
from connect.feeds.judged import why_held
from connect.feeds.paging import MOST_PAGES, first_page, next_page
from connect.feeds.rows import Fault, FeedBroken, FeedItem, Reading
from contracts.errors import NextclickError
from contracts.feed_settings import FeedOptions
from contracts.feed_status import FeedPull as Pull
from contracts.feed_status import Outcome
from contracts.masked import masked
from nextclick.stack.feeds.apply import Applied, Door, Timing, apply_staged, is_later
from nextclick.stack.feeds.definition import Feed, FeedError, FeedFolder, State
from nextclick.stack.feeds.fetch import Limits, Page, Seen, open_file, open_url
from nextclick.stack.feeds.report import Report, say_also
from nextclick.stack.feeds.store import FeedStore

SLICE: Final = 500
"""Items that are compared together."""
RETRY_MS: Final = 600_000
"""A pull that failed is tried again after so long, or after the feed's period where that is shorter."""
MOST_READINGS: Final = 20
MOST_WHY: Final = 1000
STORE, REPORT = "items.sqlite", "faults.jsonl"


@dataclass(slots=True)
class Read:
    """What a reading came to. Mutable. `unchanged`: the feed is as it was when it was applied last."""

    unchanged: bool = False
    found: int = 0
    size: int = 0
    pages: int = 0
    dated: bool = False
    seen: Seen = field(default_factory=Seen)
    taken: Taken = field(default_factory=Taken)
    readings: Counter[str] = field(default_factory=Counter)
    counts: dict[str, int] = field(default_factory=dict)
    faults: tuple[int, int, int] = (0, 0, 0)
    """Left out, noted, repeated."""


class Reached(NamedTuple):
    """How far a pull is: items read; changes to be applied (None while it reads), taken and refused so far."""

    read: int = 0
    changes: int | None = None
    taken: int = 0
    refused: int = 0


Show = Callable[[Reached], None]


class Puller:
    """Pulls feeds of one folder. `clock_ms` is the time of day; `timing` what pauses are taken by; `show` is told how
    far a pull is.
    """

    def __init__(
        self,
        folder: FeedFolder,
        options: FeedOptions,
        door: Door,
        clock_ms: Callable[[], int],
        timing: Timing,
        show: Show = lambda _reached: None,
    ) -> None:
        self._folder, self._options, self._door = folder, options, door
        self._clock_ms, self._timing, self._show = clock_ms, timing, show

    def pull(self, name: str, *, anew: bool = False) -> Pull:
        """Pull a feed, whenever it is due; returns how that went, which is kept as well. `anew`: tell the catalogue all
        of it again. Raises FeedError where there is no such feed, or it is being pulled.
        """
        feed, began_ms = self._folder.read(name), self._clock_ms()
        with self._folder.alone(name), FeedStore(self._folder.place(name) / STORE) as store:
            state, applied, read = self._folder.state(name), Applied(), Read()
            if anew:
                store.forget()
            try:
                if store.phase == "ready":  # a process died, or the gateway was away
                    self._apply(name, store, applied)
                outcome, why = self._pulled(feed, store, state, read, applied, anew=anew)
            except FeedBroken as error:
                outcome, why = "failed", masked(str(error))
            except (NextclickError, OSError, sqlite3.Error) as error:
                outcome, why = _outcome_of(error), masked(str(error))
            pull = _summary(began_ms, self._clock_ms(), outcome, why, read, applied)
            self._folder.write_state(name, self._next(feed, state, pull, read))
            return pull

    def confirm(self, name: str) -> Pull:
        """Apply what is held back. Raises FeedError where nothing is."""
        feed, began_ms = self._folder.read(name), self._clock_ms()
        with self._folder.alone(name), FeedStore(self._folder.place(name) / STORE) as store:
            if not store.release():
                raise FeedError(f"feed {name!r}: nothing is held back")
            applied, why = Applied(), "confirmed"
            outcome: Outcome = "applied"
            try:
                self._apply(name, store, applied)
            except (NextclickError, OSError, sqlite3.Error) as error:
                outcome, why = _outcome_of(error), masked(str(error))
            pull = _summary(began_ms, self._clock_ms(), outcome, why, Read(), applied)
            state = self._folder.state(name)
            self._folder.write_state(name, self._next(feed, state, pull, Read()))
            return pull

    def delete_items(self, name: str) -> int:
        """Delete the items that a feed brought, but not those that another has too; returns how many. Raises what the
        gateway does not take.
        """
        self._folder.read(name)
        with self._folder.alone(name), FeedStore(self._folder.place(name) / STORE) as store:
            applied = Applied()
            store.begin()
            store.finish("ready")
            self._apply(name, store, applied)
            return applied.counts["delete"]

    def _pulled(
        self, feed: Feed, store: FeedStore, state: State, read: Read, applied: Applied, *, anew: bool
    ) -> tuple[Outcome, str]:
        seen = Seen() if anew else Seen(state.etag, state.modified)
        held = store.phase == "held"
        with Report(self._folder.place(feed.name) / REPORT, self._options.report) as report:
            self._read(feed, store, seen, read, report)
            if read.unchanged:
                if held:  # it is again as it was applied
                    store.begin()
                    store.discard()
                return "unchanged", "the feed is as it was when it was applied last"
            report.keep()
            read.faults = (report.left_out, report.noted, report.repeated)
        counts = store.counts(read.found)
        why = why_held(counts, self._options.may_lose)
        if why is not None and not counts.known:
            store.discard()
            if read.faults[0]:
                return "failed", f"no line could be taken: nextclick feed show {feed.name} says why"
            return "failed", f"{why}: there is nothing to apply"
        store.finish("held" if why is not None else "ready")
        read.counts = store.staged_counts()
        if why is not None:
            return "held", f"{why}: look at it, then `nextclick feed confirm {feed.name}`"
        self._apply(feed.name, store, applied)
        return "applied", ""

    def _apply(self, name: str, store: FeedStore, applied: Applied) -> None:
        folder = self._folder
        others = [folder.place(one) / STORE for one in folder.names() if one != name]
        there = [path for path in others if path.exists()]
        taken, refused, all = sum(applied.counts.values()), applied.refusals, sum(store.staged_counts().values())

        def show() -> None:
            done = sum(applied.counts.values()) - taken
            self._show(Reached(changes=all, taken=done, refused=applied.refusals - refused))

        try:
            apply_staged(store, self._door, self._options, self._timing, there, applied, show)
        finally:
            say_also(folder.place(name) / REPORT, applied.refused, self._options.report)
        store.shrink()

    def _read(self, feed: Feed, store: FeedStore, seen: Seen, read: Read, report: Report) -> None:
        """Read all pages of a feed into what is staged. Raises FeedBroken."""
        began_s = self._timing.monotonic()
        url: str | None = first_page(feed.format, feed.source) if feed.is_remote else feed.source
        began = False
        while url is not None:
            left_s = self._options.most_time.total_seconds() - (self._timing.monotonic() - began_s)
            if left_s <= 0 or read.pages >= MOST_PAGES:
                raise FeedBroken(f"expected the whole feed within feeds.most_time and {MOST_PAGES:,} pages, got more")
            with self._opened(feed, url, seen if not read.pages else Seen(), read, left_s) as page:
                if page.unchanged:
                    read.unchanged = True
                    return
                if not began:
                    store.begin()
                    began = True
                read.pages += 1
                rows = self._read_page(feed, store, page, read, report)
                read.size += page.size
                read.seen = page.seen
                url = next_page(feed.format, url, page.next_url, rows) if feed.is_remote else None

    def _opened(self, feed: Feed, url: str, seen: Seen, read: Read, left_s: float) -> AbstractContextManager[Page]:
        options = self._options
        limits = Limits(options.most_bytes - read.size, left_s, options.wait.total_seconds(), options.redirects)
        if not feed.is_remote:
            return open_file(Path(url), seen, limits)
        return open_url(url, seen, limits, private=feed.private, headers=feed.headers, origin=feed.source)

    def _read_page(self, feed: Feed, store: FeedStore, page: Page, read: Read, report: Report) -> int:
        """Read one page; returns how many rows it had, items and such as cannot be taken."""
        reading = Reading(feed.id_field, feed.decimal, feed.currency, _base_of(feed), self._clock_ms() / 1000)
        slice, kept, rows = list[FeedItem](), list[str](), 0

        def flush() -> None:
            for item in store.see(slice):
                report.repeat(item.item_id, item.line, read.pages)
            store.keep(kept)
            slice.clear()
            kept.clear()
            self._show(Reached(read.found))

        for found in _numbered(read_feed(feed.format, page.chunks, reading, read.taken), read.pages):
            if isinstance(found, Fault):
                report.say(found, read.pages)
                rows += found.left_out
                if found.left_out and found.item_id is not None:
                    kept.append(found.item_id)
            else:
                slice.append(found)
                rows, read.found = rows + 1, read.found + 1
                read.dated |= found.dated
                if found.reading and (found.reading in read.readings or len(read.readings) < MOST_READINGS):
                    read.readings[found.reading] += 1
            if len(slice) + len(kept) >= SLICE:
                flush()
        flush()
        return rows

    def _next(self, feed: Feed, state: State, pull: Pull, read: Read) -> State:
        every_ms = int(feed.every_s * 1000)
        pause_ms = min(every_ms, RETRY_MS) if pull.outcome in ("failed", "waiting") else every_ms
        seen = {}
        if pull.outcome == "applied" and read.pages:  # pages and dated prices change without the first page's mark
            kept = read.seen if read.pages == 1 and not read.dated else Seen()
            seen = {"etag": kept.etag, "modified": kept.modified}
        return state.after(pull, max(pull.began_ms + pause_ms, pull.ended_ms), **seen)


def _numbered(found: Iterator[FeedItem | Fault], page: int) -> Iterator[FeedItem | Fault]:
    """Yield what is found; what breaks a page says which."""
    try:
        yield from found
    except FeedBroken as error:
        if page < 2:
            raise
        raise FeedBroken(f"page {page}, {error}") from error


def _base_of(feed: Feed) -> str:
    if not feed.is_remote:
        return ""
    parts = urlsplit(feed.source)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _outcome_of(error: Exception) -> Outcome:
    return "waiting" if isinstance(error, NextclickError) and is_later(error) else "failed"


def _summary(began_ms: int, ended_ms: int, outcome: Outcome, why: str, read: Read, applied: Applied) -> Pull:
    left_out, noted, repeated = read.faults
    staged = read.counts
    changed = staged.get("put", 0) + staged.get("stock", 0)
    return Pull(
        began_ms=began_ms,
        ended_ms=max(began_ms, ended_ms),
        outcome=outcome,
        why=why[:MOST_WHY],
        found=read.found,
        put=applied.counts["put"],
        stock=applied.counts["stock"],
        deleted=applied.counts["delete"],
        same=max(0, read.found - repeated - changed) if read.counts or outcome == "applied" else 0,
        repeated=repeated,
        left_out=left_out,
        noted=noted,
        refused=applied.refusals,
        bytes=read.size,
        encodings=str(read.taken.encodings),
        readings=dict(read.readings),
    )
