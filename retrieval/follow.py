"""The catalogue table read into columns and index from a thread: from a snapshot on if that can be, else all of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from contracts.settings import IndexSettings
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns
from retrieval.intake import Intake
from retrieval.live import REMEMBERED, Opened, Start, fingerprint, fingerprint_from, index_of
from retrieval.share import Share
from session_model.item_tower import ItemTower
from state.table_changes import Change, ChangesTrimmed
from state.tables import TableReader

_AT_ONCE = 1000


class Follower:
    """Columns and index of one tower's vectors, as far as `number` (the next change to take). For one thread."""

    def __init__(
        self, reader: TableReader, tower: ItemTower, settings: IndexSettings, share: Share | None = None
    ) -> None:
        """`share`: take the items of this share alone."""
        self._reader, self._tower, self._share = reader, tower, share
        columns = CatalogueColumns(model_version=tower.version, dim=tower.dim)
        index = index_of(columns, settings)
        self._intake = Intake(columns, index, lambda: tower)
        self._recent: deque[Change] = deque(maxlen=REMEMBERED)
        self.number = 0
        self.skipped = 0

    @property
    def columns(self) -> CatalogueColumns:
        return self._intake.columns

    @property
    def index(self) -> AnnIndex:
        assert self._intake.index is not None
        return self._intake.index

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the changes before `number`."""
        return fingerprint(self._recent)

    def start(self, opened: Opened | None, progress: Callable[[int], None] = lambda _: None) -> None:
        """Take everything in: what an opened snapshot of this tower lacks, or all rows. `progress` is told rows."""
        if opened is not None:
            self.move_to(opened.columns, opened.index)
            if self._resumes(opened):
                self.catch_up()
                return
        self._load(progress)
        self.catch_up()

    def move_to(self, columns: CatalogueColumns, index: AnnIndex) -> None:
        """Go on with other columns that hold the same."""
        self._intake = Intake(columns, index, lambda: self._tower)

    def catch_up(self) -> int:
        """Take the changes up to now; returns how many. Loads everything again when they are no longer kept."""
        taken = 0
        while True:
            try:
                changes = self._reader.changes(self.number)
            except ChangesTrimmed:
                self._load(lambda _: None)
                continue
            if not changes:
                return taken
            self.take(changes)
            taken += len(changes)

    def _resumes(self, opened: Opened) -> bool:
        """Go on from the snapshot's change if the table is still the one that it was read from."""
        before = past_of(self._reader, opened.start)
        if before is None:
            return False
        self.number = opened.start.number
        self._recent.extend(before)
        return True

    def _load(self, progress: Callable[[int], None]) -> None:
        end = self._reader.begin()
        found: set[int] = set()
        for rows in self._reader.rows():
            keyed = self._mine((int.from_bytes(key, "little"), raw) for key, raw in rows)
            found.update(key for key, _ in keyed)
            self.skipped += self._intake.take_each(keyed)
            progress(len(found))
        columns = self.columns
        alive = columns.keys[: columns.count][columns.alive[: columns.count]].tolist()
        gone = [(key, None) for key in alive if key not in found]
        for at in range(0, len(gone), _AT_ONCE):
            self._intake.take_each(gone[at : at + _AT_ONCE])
        self.number = end
        self._recent.clear()
        try:
            self._recent.extend(_before(self._reader, end))
        except ChangesTrimmed:
            return

    def _mine(self, rows: Iterable[tuple[int, bytes | None]]) -> list[tuple[int, bytes | None]]:
        share = self._share
        return list(rows) if share is None else [row for row in rows if share.holds(row[0])]

    def take(self, changes: Sequence[Change]) -> None:
        """Take the next changes of the table."""
        rows = self._mine((int.from_bytes(change.key, "little"), change.row) for change in changes)
        self.skipped += self._intake.take_each(rows)
        self._recent.extend(changes)
        self.number = changes[-1].number + 1


def past_of(reader: TableReader, start: Start) -> list[Change] | None:
    """Return the last changes before `start`; None where the table is no longer the one that was read up to there.

    Raises StateUnavailable.
    """
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
