"""Facts that wait for their hour to close, in an SQLite file: memory holds one visitor at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from attribution.facts import Fact, Outcome, Page
from attribution.shown_rows import Logged

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS pages (session TEXT, page TEXT, ts INTEGER, user TEXT, log_partition INTEGER,
    log_offset INTEGER, raw BLOB, PRIMARY KEY (session, page)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pages_by_time ON pages (ts);
CREATE TABLE IF NOT EXISTS outcomes (is_user INTEGER, who TEXT, event TEXT, ts INTEGER, raw BLOB,
    PRIMARY KEY (is_user, who, event)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS outcomes_by_time ON outcomes (ts);
CREATE TABLE IF NOT EXISTS users (session TEXT, user TEXT, first INTEGER, ts INTEGER,
    PRIMARY KEY (session, user)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_of_users ON users (user);
CREATE TABLE IF NOT EXISTS progress (source TEXT PRIMARY KEY, next_offset INTEGER, newest INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, count INTEGER) WITHOUT ROWID;
"""
PER_VISITOR: Final = 500


class Place(NamedTuple):
    """How far one partition of a topic was read: the next offset, and the newest event's time before it."""

    next_offset: int
    newest_ms: int


class LoggedFact(NamedTuple):
    """A fact, with what a row needs of it beside: where its record stands, item ids, and its variant's chance."""

    fact: Fact
    partition: int
    offset: int
    item_ids: tuple[str, ...] = ()
    propensity: float | None = None


class _Kept(msgspec.Struct, array_like=True):
    page: Page
    item_ids: tuple[str, ...]
    propensity: float | None


_encode: Final = msgspec.msgpack.Encoder().encode
_page: Final = msgspec.msgpack.Decoder(_Kept).decode
_outcome: Final = msgspec.msgpack.Decoder(Outcome).decode


class Shelf:
    """What was read and not written yet. A part of the log and how far it was read are one transaction."""

    def __init__(self, file: Path, *, most: int = PER_VISITOR) -> None:
        """`most` pages and outcomes of a visitor are looked at, the first ones in the log."""
        self._db, self._most = sqlite3.connect(file, isolation_level=None), most
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-16000", "temp_store=FILE"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_TABLES)

    def place(self, source: str) -> Place:
        found = self._db.execute("SELECT next_offset, newest FROM progress WHERE source = ?", (source,)).fetchone()
        return Place(*found) if found else Place(0, 0)

    def offsets(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT source, next_offset FROM progress ORDER BY source"))

    def newest_ms(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(newest), 0) FROM progress").fetchone()[0])

    def counts(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT name, count FROM counts ORDER BY name"))

    def take(self, source: str, place: Place, facts: Iterable[LoggedFact], counts: Mapping[str, int]) -> None:
        """Keep facts, and how far their partition was read. Repeats change nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for one in facts:
                self._keep(one)
            for name, count in counts.items():
                add = "INSERT INTO counts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = count + excluded.count"
                self._db.execute(add, (name, count))
            self._db.execute("REPLACE INTO progress VALUES (?, ?, ?)", (source, *place))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _keep(self, one: LoggedFact) -> None:
        fact, what = one.fact, one.fact.what
        if fact.user_id is not None:
            seen = (
                "INSERT INTO users VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET first = min(first, excluded.first), ts = max(ts, excluded.ts)"
            )
            self._db.execute(seen, (fact.session_id, fact.user_id, fact.ts, fact.ts))
        if isinstance(what, Page):
            row = (fact.session_id, what.page_id, what.ts, what.user_id, one.partition, one.offset)
            raw = _encode(_Kept(what, one.item_ids, one.propensity))
            self._db.execute("INSERT OR IGNORE INTO pages VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, raw))
        elif isinstance(what, Outcome):
            who = (1, fact.user_id) if fact.user_id is not None else (0, fact.session_id)
            told = (*who, what.event_id, what.ts, _encode(what))
            self._db.execute("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?, ?)", told)

    def first_page_ms(self, since_ms: int = 0) -> int | None:
        """Return when the oldest page was shown that is there, from a time on."""
        found = self._db.execute("SELECT min(ts) FROM pages WHERE ts >= ?", (since_ms,)).fetchone()
        return None if found[0] is None else int(found[0])

    def sessions(self, begin_ms: int, end_ms: int) -> Iterator[str]:
        """Yield the sessions that were shown pages then, in their order."""
        asked = "SELECT DISTINCT session FROM pages WHERE ts >= ? AND ts < ? ORDER BY session"
        for (name,) in self._db.execute(asked, (begin_ms, end_ms)):
            yield name

    def pages_of(self, session_id: str) -> list[Logged]:
        """Return the pages of a session, oldest first."""
        asked = (
            "SELECT raw, log_partition, log_offset FROM pages WHERE session = ? "
            "ORDER BY log_partition, log_offset LIMIT ?"
        )
        found = []
        for raw, partition, offset in self._db.execute(asked, (session_id, self._most)):
            kept = _page(raw)
            found.append(Logged(session_id, kept.page, kept.item_ids, kept.propensity, partition, offset))
        return sorted(found, key=lambda one: (one.page.ts, one.page.page_id))

    def users_of(self, session_id: str, *, before_ms: int) -> list[str]:
        """Return the users who were seen in a session before a time."""
        asked = "SELECT user FROM users WHERE session = ? AND first < ? ORDER BY user LIMIT ?"
        return [user for (user,) in self._db.execute(asked, (session_id, before_ms, self._most))]

    def pages_of_user(self, user_id: str, *, before_ms: int) -> dict[str, Page]:
        """Return the pages that a user may have seen: of all sessions in which the user was before a time, unless
        another user was shown them.
        """
        asked = (
            "SELECT pages.raw FROM users JOIN pages USING (session) WHERE users.user = ? AND users.first < ? AND "
            "(pages.user IS NULL OR pages.user = users.user) ORDER BY log_partition, log_offset LIMIT ?"
        )
        found = (_page(raw).page for (raw,) in self._db.execute(asked, (user_id, before_ms, self._most)))
        return {page.page_id: page for page in found}

    def outcomes_of(self, who: str, *, is_user: bool, before_ms: int) -> list[Outcome]:
        """Return what a session (without what its users did) or a user did before a time."""
        asked = "SELECT raw FROM outcomes WHERE is_user = ? AND who = ? AND ts < ? ORDER BY ts, event LIMIT ?"
        return [_outcome(raw) for (raw,) in self._db.execute(asked, (is_user, who, before_ms, self._most))]

    def forget(self, before_ms: int, users_before_ms: int) -> None:
        """Take away facts that are older: of pages, of outcomes, and of who was in a session."""
        self._db.execute("BEGIN IMMEDIATE")
        for table, oldest in (("pages", before_ms), ("outcomes", before_ms), ("users", users_before_ms)):
            self._db.execute(f"DELETE FROM {table} WHERE ts < ?", (oldest,))
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()


def chance_of(value: Any) -> float | None:
    """Return a number of an event's context that is a chance; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1 else None
