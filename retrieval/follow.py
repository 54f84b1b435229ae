"""The catalogue table read into columns and index from a thread: from a snapshot on if that can be, else all of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from contracts.settings import IndexSettings
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns
from retrieval.intake import Intake
from retrieval.live import REMEMBERED, Opened, Start, fingerprint, fingerprint_from, index_of, together
from retrieval.share import Share
from session_model.item_tower import ItemTower
from state.shards import CatalogueReader, shards_of
from state.table_changes import Change, ChangesTrimmed
from state.tables import TableReader

_AT_ONCE = 1000


class _Shard:
    """One shard of the table, as far as `number` (the next change to take). Mutable."""

    def __init__(self, reader: TableReader) -> None:
        self.reader, self.number = reader, 0
        self.recent: deque[Change] = deque(maxlen=REMEMBERED)

    def goes_on(self, number: int, before: list[Change]) -> None:
        self.number = number
        self.recent.clear()
        self.recent.extend(before)

    @property
    def place(self) -> Start:
        return Start(self.number, fingerprint(self.recent))


class Follower:
    """Columns and index of one tower's vectors, as far as `place`. For one thread."""

    def __init__(
        self, reader: CatalogueReader, tower: ItemTower, settings: IndexSettings, share: Share | None = None
    ) -> None:
        """`share`: take the items of this share alone."""
        self._reader, self._tower, self._share = reader, tower, share
        columns = CatalogueColumns(model_version=tower.version, dim=tower.dim)
        index = index_of(columns, settings)
        self._intake = Intake(columns, index, lambda: tower)
        self._shards = [_Shard(one) for one in reader.shards]
        self.skipped = 0

    @property
    def columns(self) -> CatalogueColumns:
        return self._intake.columns

    @property
    def index(self) -> AnnIndex:
        assert self._intake.index is not None
        return self._intake.index

    @property
    def number(self) -> int:
        """Changes before the next one to take, of all shards."""
        return sum(shard.number for shard in self._shards)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The next change to take, of each shard of the table."""
        return tuple(shard.number for shard in self._shards)

    @property
    def place(self) -> Start:
        """Where somebody would go on from who has what is in the columns."""
        return together([shard.place for shard in self._shards])

    def start(self, opened: Opened | None, progress: Callable[[int], None] = lambda _: None) -> None:
        """Take everything in: what an opened snapshot of this tower lacks, or all rows. `progress` is told rows."""
        if opened is not None:
            self.move_to(opened.columns, opened.index)
            if self._resumes(opened):
                self.catch_up()
                return
        count = 0
        for at, shard in enumerate(self._shards):
            count += self._load(at, shard, lambda rows, before=count: progress(before + rows))  # type: ignore[misc]
        self.catch_up()

    def move_to(self, columns: CatalogueColumns, index: AnnIndex) -> None:
        """Go on with other columns that hold the same."""
        self._intake = Intake(columns, index, lambda: self._tower)

    def catch_up(self) -> int:
        """Take the changes up to now; returns how many. Loads everything again when they are no longer kept."""
        return sum(self._catch_up(at, shard) for at, shard in enumerate(self._shards))

    def _catch_up(self, at: int, shard: _Shard) -> int:
        taken = 0
        while True:
            try:
                changes = shard.reader.changes(shard.number)
            except ChangesTrimmed:
                self._load(at, shard, lambda _: None)
                continue
            if not changes:
                return taken
            self._take(shard, changes)
            taken += len(changes)

    def _resumes(self, opened: Opened) -> bool:
        """Go on from the snapshot's changes if the table is still the one that it was read from."""
        starts, pasts = opened.start.of(len(self._shards)), past_of(self._reader, opened.start)
        if starts is None or pasts is None:
            return False
        for shard, start, before in zip(self._shards, starts, pasts, strict=True):
            shard.goes_on(start.number, before)
        return True

    def _load(self, at: int, shard: _Shard, progress: Callable[[int], None]) -> int:
        """Take in all rows of a shard, and take away what it no longer has. Returns how many it has."""
        end = shard.reader.begin()
        found: set[int] = set()
        for rows in shard.reader.rows():
            keyed = self._mine((int.from_bytes(key, "little"), raw) for key, raw in rows)
            found.update(key for key, _ in keyed)
            self.skipped += self._intake.take_each(keyed)
            progress(len(found))
        columns = self.columns
        alive = columns.keys[: columns.count][columns.alive[: columns.count]]
        mine = alive[shards_of(alive, len(self._shards)) == at]
        gone = [(key, None) for key in mine.tolist() if key not in found]
        for begin in range(0, len(gone), _AT_ONCE):
            self._intake.take_each(gone[begin : begin + _AT_ONCE])
        shard.goes_on(end, [])
        with suppress(ChangesTrimmed):
            shard.recent.extend(_before(shard.reader, end))
        return len(found)

    def _mine(self, rows: Iterable[tuple[int, bytes | None]]) -> list[tuple[int, bytes | None]]:
        share = self._share
        return list(rows) if share is None else [row for row in rows if share.holds(row[0])]

    def take(self, at: int, changes: Sequence[Change]) -> None:
        """Take the next changes of one shard of the table."""
        self._take(self._shards[at], changes)

    def _take(self, shard: _Shard, changes: Sequence[Change]) -> None:
        rows = self._mine((int.from_bytes(change.key, "little"), change.row) for change in changes)
        self.skipped += self._intake.take_each(rows)
        shard.recent.extend(changes)
        shard.number = changes[-1].number + 1


def past_of(reader: CatalogueReader, start: Start) -> list[list[Change]] | None:
    """Return the last changes before `start`, of each shard; None where the table is no longer the one that was read
    up to there, or has other shards.

    Raises StateUnavailable, ShardsDiffer.
    """
    starts = start.of(len(reader.shards))
    if starts is None:
        return None
    found = []
    for shard, place in zip(reader.shards, starts, strict=True):
        before = _past_of(shard, place)
        if before is None:
            return None
        found.append(before)
    return found


def _past_of(reader: TableReader, start: Start) -> list[Change] | None:
    if reader.begin() < start.number:
        return None
    try:
        before = _before(reader, start.number)
    except ChangesTrimmed:
        return None
    return before if fingerprint(before) == start.fingerprint else None


def _before(reader: TableReader, number: int) -> list[Change]:
    start = fingerprint_from(number)
    changes = reader.changes(start, count=REMEMBERED) if start < number else []
    return [change for change in changes if change.number < number]
