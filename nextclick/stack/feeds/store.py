"""What was last seen of a feed, in SQLite: digests of its items, and the changes that are still to be applied.

Two tables. `items`: what the catalogue was told, an item a row. `staged`: the changes of a pull, in its order, each
gone once the gateway has taken it. So a process that dies applies the rest when it starts again: what it had sent and
not noted is sent once more, which changes nothing, as puts, deletes and stock are absolute.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import orjson

from connect.feeds.judged import Counts, Known, change_of, digest_of, stock_to_tell
from connect.feeds.rows import FeedItem, put_document
from nextclick.stack.feeds.definition import FeedError

Phase = Literal["none", "reading", "held", "ready"]
Op = Literal["put", "stock", "delete"]
_CACHE_KIB: Final = 32 * 1024
_PRAGMAS: Final = (
    *("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=NORMAL"),
    *(f"cache_size=-{_CACHE_KIB}", "temp_store=FILE"),
)
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS items (item_id TEXT PRIMARY KEY, digest BLOB, stock INTEGER, seen INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS staged
  (n INTEGER PRIMARY KEY, item_id TEXT UNIQUE, op TEXT, document BLOB, digest BLOB, stock INTEGER);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Staged:
    """A change that waits. `document`: of a put, as JSON; `stock`: of a put and of a stock."""

    n: int
    item_id: str
    op: Op
    document: bytes
    stock: int | None


class FeedStore:
    """One feed's items and staged changes. For one process at a time (`FeedFolder.alone`)."""

    def __init__(self, path: Path) -> None:
        """Raises FeedError for a file that is no store."""
        path.touch(mode=0o600, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            for pragma in _PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_TABLES)
            self.pull = int(self._meta("pull", "0"))
        except sqlite3.Error as error:
            self._db.close()
            what_to_do = "if it is damaged remove it, and the next pull tells the catalogue every item again"
            raise FeedError(f"{path}: expected a feed's store that can be read, got {error}: {what_to_do}") from error

    @property
    def phase(self) -> Phase:
        found = self._meta("phase", "none")
        return found if found in ("reading", "held", "ready") else "none"  # type: ignore[return-value]

    def begin(self) -> None:
        """Begin another pull: what was staged before goes."""
        with self._transaction():
            self._db.execute("DELETE FROM staged")
            self.pull += 1
            self._put_meta(pull=str(self.pull), phase="reading")

    def see(self, items: Sequence[FeedItem]) -> list[FeedItem]:
        """Compare items with what was seen before, and stage what changed; returns those whose id this pull has had
        already: the later one counts.
        """
        with self._transaction():
            latest = {item.item_id: item for item in items}
            before = self._known(list(latest))
            again = self._seen_already(list(latest))
            repeated = _repeated(items, again)
            staged: list[tuple[Any, ...]] = []
            for item_id, item in latest.items():
                known = before.get(item_id)
                now = Known(digest_of(item.document), item.stock)
                change = change_of(known, now)
                if change == "same":
                    continue
                stock = stock_to_tell(known, now)
                document = orjson.dumps(put_document(item, stock)) if change == "put" else b""
                staged.append((item_id, change, document, now.digest, item.stock))
            marks = [(item_id,) for item_id in again]
            self._db.executemany("DELETE FROM staged WHERE item_id = ?", marks)
            self._db.executemany(
                "INSERT INTO staged (item_id, op, document, digest, stock) VALUES (?, ?, ?, ?, ?)", staged
            )
            self._mark(latest)
        return repeated

    def keep(self, item_ids: Iterable[str]) -> None:
        """Leave items as they are: the feed has them, in lines that cannot be taken."""
        with self._transaction():
            self._mark(item_ids)

    def counts(self, found: int) -> Counts:
        """Return what the pull comes to."""
        known = self._one("SELECT count(*) FROM items WHERE digest IS NOT NULL")
        lost = self._one("SELECT count(*) FROM items WHERE digest IS NOT NULL AND seen != ?", self.pull)
        return Counts(known, lost, found)

    def finish(self, phase: Phase) -> None:
        """End the reading: what the feed lacks is staged to be deleted. `held`: nothing is applied before `release`."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO staged (item_id, op) "
                "SELECT item_id, 'delete' FROM items WHERE digest IS NOT NULL AND seen != ?",
                (self.pull,),
            )
            self._db.execute("DELETE FROM items WHERE digest IS NULL AND seen != ?", (self.pull,))
            self._put_meta(phase=phase)

    def discard(self) -> None:
        """End the reading, with nothing to apply."""
        with self._transaction():
            self._db.execute("DELETE FROM staged")
            self._db.execute("DELETE FROM items WHERE digest IS NULL")
            self._put_meta(phase="none")

    def release(self) -> bool:
        """Have what is held applied; False where nothing is."""
        if self.phase != "held":
            return False
        with self._transaction():
            self._put_meta(phase="ready")
        return True

    def staged(self, most: int) -> list[Staged]:
        """Return the next changes, of one kind."""
        rows = self._db.execute(
            "SELECT n, item_id, op, document, stock FROM staged ORDER BY n LIMIT ?", (most,)
        ).fetchall()
        found = [Staged(n, item_id, op, document or b"", stock) for n, item_id, op, document, stock in rows]
        return [one for one in found if one.op == found[0].op][:most] if found else []

    def staged_counts(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT op, count(*) FROM staged GROUP BY op").fetchall())

    def applied(self, taken: Sequence[Staged], refused: Iterable[str] = ()) -> None:
        """Note what the gateway took. What it refused is forgotten: the next pull tells it again."""
        away = {*refused, *(one.item_id for one in taken if one.op == "delete")}
        numbers = [(one.n,) for one in taken]
        with self._transaction():
            told = [one for one in taken if one.item_id not in away]
            self._db.executemany(
                "INSERT OR REPLACE INTO items (item_id, digest, stock, seen) "
                "SELECT item_id, digest, stock, ? FROM staged WHERE n = ?",
                [(self.pull, one.n) for one in told],
            )
            self._db.executemany("DELETE FROM items WHERE item_id = ?", [(item_id,) for item_id in away])
            self._db.executemany("DELETE FROM staged WHERE n = ?", numbers)
            if not self._one("SELECT EXISTS (SELECT 1 FROM staged)"):
                self._put_meta(phase="none")

    def forget(self) -> None:
        """Have the next pull tell every item again."""
        with self._transaction():
            self._db.execute("UPDATE items SET digest = x'00'")

    def item_ids(self) -> list[str]:
        """Return the ids of all items that the catalogue was told of."""
        return [row[0] for row in self._db.execute("SELECT item_id FROM items WHERE digest IS NOT NULL")]

    def close(self) -> None:
        self._db.close()

    def shrink(self) -> None:
        """Give back the disk that applied changes took."""
        self._db.executescript("PRAGMA incremental_vacuum;")  # `execute` would take one page
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _known(self, item_ids: Sequence[str]) -> dict[str, Known]:
        rows = self._among("SELECT item_id, digest, stock FROM items WHERE digest IS NOT NULL AND item_id IN", item_ids)
        return {item_id: Known(digest, stock) for item_id, digest, stock in rows}

    def _seen_already(self, item_ids: Sequence[str]) -> list[str]:
        rows = self._among(f"SELECT item_id FROM items WHERE seen = {self.pull} AND item_id IN", item_ids)
        return [row[0] for row in rows]

    def _among(self, question: str, item_ids: Sequence[str]) -> list[Any]:
        return self._db.execute(f"{question} ({','.join('?' * len(item_ids))})", item_ids).fetchall()

    def _mark(self, item_ids: Iterable[str]) -> None:
        """Note that this pull has seen them; one that the catalogue was not told of yet gets a row without a digest."""
        self._db.executemany(
            "INSERT INTO items (item_id, seen) VALUES (?, ?) ON CONFLICT (item_id) DO UPDATE SET seen = excluded.seen",
            [(item_id, self.pull) for item_id in item_ids],
        )

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)

    def _one(self, question: str, *values: object) -> int:
        return int(self._db.execute(question, values).fetchone()[0])

    def _meta(self, name: str, otherwise: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return otherwise if row is None else str(row[0])

    def _put_meta(self, **values: str) -> None:
        self._db.executemany("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", list(values.items()))


def _repeated(items: Sequence[FeedItem], before: Iterable[str]) -> list[FeedItem]:
    """Return the items whose id comes earlier among them, or came before."""
    had, found = set(before), list[FeedItem]()
    for item in items:
        if item.item_id in had:
            found.append(item)
        had.add(item.item_id)
    return found


class _Transaction:
    """All of it, or nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *failure: object) -> None:
        self._db.execute("ROLLBACK" if kind is not None else "COMMIT")
