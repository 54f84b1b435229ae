"""What the items flow does to a micro-batch: decode, apply to rows, embed, commit with the offset. No Bytewax here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from contracts.codec import decode_row, encode_row
from contracts.errors import StateConflict
from contracts.events import Rejection
from contracts.ids import ItemKey, item_key
from contracts.items import (
    UNLIMITED_STOCK,
    CatalogueRow,
    Item,
    ItemDelete,
    ItemPatch,
    ItemPut,
    ItemSeen,
    StockSet,
    decode_change,
    encode_change,
    image_problem,
    patched,
)
from contracts.keys import CATALOGUE
from contracts.left_out import LeftOutLog, reason_of
from contracts.plausible import expect_row
from eventlog.contract import Batch, DeadLetter, LogWriter, Topic
from flows.read_record import read_record
from retrieval.catalogue import digest_of
from state.shards import CatalogueReader, CatalogueWriter, shard_of
from state.tables import Source

log = logging.getLogger(__name__)

BAD_ROW = "bad_row"
"""Reason of a row of the table that cannot be read, and of a stock for it."""
BAD_VECTOR = "bad_vector"
UNKNOWN_ITEM = "unknown_item"
FULL = "catalogue_full"

Change = ItemPut | ItemPatch | ItemDelete | StockSet | ItemSeen
Rows = Mapping[ItemKey, CatalogueRow]


class Tower(Protocol):
    """What the item tower offers; see `session_model.item_tower.ItemTower`."""

    @property
    def version(self) -> int: ...

    @property
    def image_length(self) -> int: ...

    def embed(
        self, item_ids: Sequence[str], items: Sequence[Item]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]: ...


class Room(NamedTuple):
    """How many items and bytes the catalogue may still take."""

    items: int
    bytes: int
    item_bytes: int = 2**62
    """What one item may have."""


_NO_BOUND: Final = Room(2**62, 2**62)


@dataclass(frozen=True, slots=True)
class DecodedChanges:
    """A batch's catalogue changes (offset, change) in log order, and what could not be read."""

    batch: Batch
    changes: Sequence[tuple[int, Change]]
    rejected: Sequence[DeadLetter]


@dataclass(frozen=True, slots=True)
class ChangedRows:
    """Rows as a batch leaves them: None is deleted. `unembedded` are those whose vector has to be made, with the offset
    of the change that wants it; `refused` changes were not taken."""

    rows: Mapping[ItemKey, CatalogueRow | None]
    unembedded: Mapping[ItemKey, int]
    refused: Sequence[tuple[int, Rejection]]


def decode_changes(batch: Batch, *, now_ms: int) -> DecodedChanges:
    """Decode every message; what fails becomes a dead letter with its reason."""
    changes: list[tuple[int, Change]] = []
    rejected: list[DeadLetter] = []
    for message in batch.messages:
        change = read_record(decode_change, message.value)
        if isinstance(change, Rejection):
            rejected.append(batch.letter(message.offset, message.value, change, now_ms=now_ms))
        else:
            changes.append((message.offset, change))
    return DecodedChanges(batch, changes, rejected)


def change_rows(
    changes: Sequence[tuple[int, Change]],
    known: Rows,
    *,
    now_ms: int,
    image_length: int = 0,
    unreadable: Collection[ItemKey] = (),
    room: Room = _NO_BOUND,
) -> ChangedRows:
    """Apply changes in order to the rows they name. `known` holds the rows that exist now and can be read, `unreadable`
    names those that cannot.

    A put without `stock` keeps the stock known so far (a new item: unlimited) and the time of creation. Refused:
    stock or a patch for an item that is not there (`unknown_item`) or whose row is unreadable (`bad_row`), a patch that
    makes no item (`invalid`, `too_large`), two ids with one key (`key_collision`), an image vector that has not
    `image_length` numbers, where the tower knows images (`bad_vector`), a new item where there is no `room` for one,
    and any where there is none for bytes (`catalogue_full`).
    """
    applying = _Applying(now_ms, image_length, unreadable, room, room.items)
    for offset, told in changes:
        applying.take(offset, told, known)
    return ChangedRows(applying.rows, applying.unembedded, applying.refused)


@dataclass(slots=True)
class _Applying:
    """Rows that change, one change after the other. Mutable."""

    now_ms: int
    image_length: int
    unreadable: Collection[ItemKey]
    room: Room
    left: int
    """New items that there is still room for."""
    rows: dict[ItemKey, CatalogueRow | None] = field(default_factory=dict)
    unembedded: dict[ItemKey, int] = field(default_factory=dict)
    refused: list[tuple[int, Rejection]] = field(default_factory=list)

    def take(self, offset: int, change: Change, known: Rows) -> None:
        key = item_key(change.item_id)
        row = _under_its_key(self.rows[key] if key in self.rows else known.get(key), key, change.item_id)
        lost = key in self.unreadable and key not in self.rows  # a put or delete makes it good
        if row is not None and row.item_id != change.item_id:
            detail = f"item {change.item_id!r} has the key of {row.item_id!r}: rename one of them"
            self._refuse(offset, Rejection("key_collision", detail))
            return
        match change:
            case ItemPut():
                self._put(offset, key, change, row)
            case ItemPatch():
                put = _patched(change, row, unreadable=lost, most_bytes=self.room.item_bytes)
                if isinstance(put, Rejection):
                    self._refuse(offset, put)
                else:
                    self._put(offset, key, put, row)
            case ItemDelete():
                self.left += row is not None
                self.rows[key] = None
                self.unembedded.pop(key, None)
            case StockSet():
                self._set_stock(offset, key, change, row, lost=lost)
            case ItemSeen() if row is None and not lost and self.left > 0 and self.room.bytes > 0:
                named = ItemPut(item_id=change.item_id, item=Item(title=change.item_id))
                self._keep(offset, key, named, None, change.ts)

    def _put(self, offset: int, key: ItemKey, put: ItemPut, row: CatalogueRow | None) -> None:
        if problem := image_problem(put.item, self.image_length):
            self._refuse(offset, Rejection(BAD_VECTOR, problem))
        elif self.room.bytes <= 0 or (row is None and key not in self.unreadable and self.left <= 0):
            self._refuse(offset, Rejection(FULL, _what_is_full(self.room)))
        else:
            self._keep(offset, key, put, row, self.now_ms)

    def _set_stock(self, offset: int, key: ItemKey, change: StockSet, row: CatalogueRow | None, *, lost: bool) -> None:
        if row is not None:
            self.rows[key] = replace(row, stock=change.stock)
        elif lost:
            detail = f"stock for {change.item_id!r}, whose row cannot be read: put the item again"
            self._refuse(offset, Rejection(BAD_ROW, detail))
        else:
            detail = f"stock for {change.item_id!r}, which is not in the catalogue: put the item first"
            self._refuse(offset, Rejection(UNKNOWN_ITEM, detail))

    def _keep(self, offset: int, key: ItemKey, put: ItemPut, row: CatalogueRow | None, created_ms: int) -> None:
        self.left -= row is None
        self.rows[key] = _put(put, row, created_ms)
        self.unembedded[key] = offset

    def _refuse(self, offset: int, why: Rejection) -> None:
        self.refused.append((offset, why))


def _what_is_full(room: Room) -> str:
    what = "bytes: catalogue.max_bytes" if room.bytes <= 0 else "items: catalogue.max_items"
    return f"the catalogue has as many {what} says; delete items, or raise it"


def _under_its_key(row: CatalogueRow | None, key: ItemKey, item_id: str) -> CatalogueRow | None:
    """Return the row of a key under the id of the change that has this key, where the id it was stored under has not:
    a client's field named item_id could once take the id's place."""
    if row is None or row.item_id == item_id or item_key(row.item_id) == key:
        return row
    return replace(row, item_id=item_id)


def _patched(change: ItemPatch, row: CatalogueRow | None, *, unreadable: bool, most_bytes: int) -> ItemPut | Rejection:
    """Return the put that a patch of a row comes to."""
    if unreadable:
        return Rejection(BAD_ROW, f"a patch of {change.item_id!r}, whose row cannot be read: put the item again")
    if row is None:
        return Rejection(
            UNKNOWN_ITEM, f"a patch of {change.item_id!r}, which is not in the catalogue: put the item first"
        )
    try:
        put = ItemPut(item_id=change.item_id, item=patched(row.item, change.patch))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        return Rejection("invalid", f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}")
    except ValueError as error:
        return Rejection("invalid", str(error))
    if (size := len(encode_change(put))) > most_bytes:  # each patch is small, what they add up to need not be
        return Rejection("too_large", f"the patched item has {size} bytes, expected at most {most_bytes}")
    return put


def _put(change: ItemPut, row: CatalogueRow | None, now_ms: int) -> CatalogueRow:
    stock = change.item.stock
    if stock is None:
        stock = row.stock if row is not None else UNLIMITED_STOCK
    created_ms = row.created_ms if row is not None else now_ms
    return CatalogueRow(change.item_id, change.item, stock, created_ms, model_version=0, vector=b"")


def embed_rows(changed: ChangedRows, tower: Tower | None) -> ChangedRows:
    """Give the rows that need one their vector. An item that the tower knows nothing of stays without; so does one
    whose vector does not come out finite, and its change is named among the refused (`bad_vector`)."""
    if tower is None or not changed.unembedded:
        return changed
    rows, refused = dict(changed.rows), list(changed.refused)
    waiting = [(key, row) for key in changed.unembedded if (row := rows[key]) is not None]
    vectors, known = tower.embed([row.item_id for _, row in waiting], [row.item for _, row in waiting])
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(vectors).all(axis=1))
    for at, (key, row) in enumerate(waiting):
        made = vectors[at].astype("<f4").tobytes() if known[at] and finite[at] else b""
        rows[key] = replace(row, vector=made, model_version=tower.version)
        if not finite[at]:
            detail = f"tower {tower.version:016x} made a vector that is not finite of {row.item_id!r}: it has none now"
            refused.append((changed.unembedded[key], Rejection(BAD_VECTOR, detail)))
    return ChangedRows(rows, {}, refused)


class ItemPath:
    """Applies micro-batches of catalogue changes: rows, change stream and log offset in one commit.

    A shard of the table that took in more of the log than others, as a commit died between them, is given no change
    again: it could take a row back to what it was.
    """

    def __init__(
        self,
        *,
        reader: CatalogueReader,
        table: CatalogueWriter,
        writer: LogWriter,
        tower: Callable[[], Tower | None],
        clock_ms: Callable[[], int],
        bounds: Room = _NO_BOUND,
        watch: Callable[[DecodedChanges, Rows, ChangedRows, int], None] | None = None,
    ) -> None:
        """`tower` is asked for every batch: it may change while items arrive. `bounds` is what the catalogue may
        hold. `watch` is called before each commit with the changes, the rows before and after them, and the time.
        """
        self._bounds, self._watch = bounds, watch
        self._reader, self._table, self._writer = reader, table, writer
        self._tower, self._clock_ms = tower, clock_ms
        self._said = LeftOutLog(log)

    def apply(self, decoded: DecodedChanges, letters: Sequence[DeadLetter] = ()) -> None:
        """Apply one batch, once, with its dead letters and `letters`. Raises as `SessionPath.apply` does.

        A row that cannot be read becomes a dead letter (`bad_row`), and counts as none for puts and deletes.
        """
        batch, now_ms = decoded.batch, self._clock_ms()
        stored = self._reader.places(Topic.ITEMS, batch.partition)
        if min(stored) != batch.start:
            raise StateConflict(f"{Topic.ITEMS}:{batch.partition}", batch.start, min(stored))
        decoded = _not_taken(decoded, stored)
        tower = self._tower()
        image_length = tower.image_length if tower is not None else 0
        known, lost = self._known(decoded, now_ms)
        items, size = self._reader.extent()
        room = Room(self._bounds.items - items, self._bounds.bytes - size, self._bounds.item_bytes)
        changed = change_rows(
            decoded.changes, known, now_ms=now_ms, image_length=image_length, unreadable=lost, room=room
        )
        changed = embed_rows(changed, tower)
        puts = {_key_bytes(key): _encoded(key, row) for key, row in changed.rows.items() if row is not None}
        letters = [*decoded.rejected, *self._refusals(decoded, changed, now_ms), *letters, *lost.values()]
        if letters:
            self._writer.dead_letter(letters)
        if self._watch is not None:
            self._watch(decoded, known, changed, now_ms)
        self._table.commit(
            puts,
            [_key_bytes(key) for key, row in changed.rows.items() if row is None],
            Source(Topic.ITEMS, batch.partition, batch.start, batch.next, stored),
        )

    def _known(self, decoded: DecodedChanges, now_ms: int) -> tuple[Rows, Mapping[ItemKey, DeadLetter]]:
        """Return the rows that the changes name, and the dead letters of those that cannot be read."""
        named = {item_key(change.item_id): change.item_id for _, change in decoded.changes}
        found = self._reader.get([_key_bytes(key) for key in named])
        rows: dict[ItemKey, CatalogueRow] = {}
        lost: dict[ItemKey, DeadLetter] = {}
        for (key, item_id), raw in zip(named.items(), found, strict=True):
            if raw is None:
                continue
            try:
                row = _under_its_key(decode_row(raw), key, item_id)
                assert row is not None
                expect_row(key, row)
                rows[key] = row
            except MemoryError:
                raise
            except Exception as error:
                self._said.say(f"catalogue row {key:016x}", error)
                source = f"{CATALOGUE}:{key}:{digest_of(raw)}"  # as gateways name it: once for all processes
                lost[key] = DeadLetter(source, 0, BAD_ROW, reason_of(error), now_ms, raw)
        return rows, lost

    def _refusals(self, decoded: DecodedChanges, changed: ChangedRows, now_ms: int) -> list[DeadLetter]:
        if not changed.refused:
            return []
        raw = {message.offset: message.value for message in decoded.batch.messages}
        return [decoded.batch.letter(at, raw[at], rejection, now_ms=now_ms) for at, rejection in changed.refused]


def _not_taken(decoded: DecodedChanges, stored: Sequence[int]) -> DecodedChanges:
    """Return the changes that their shard has not taken in, by the offsets where shards stand."""
    if max(stored) == decoded.batch.start:
        return decoded
    changes = [
        (offset, change)
        for offset, change in decoded.changes
        if offset >= stored[shard_of(item_key(change.item_id), len(stored))]
    ]
    return DecodedChanges(decoded.batch, changes, decoded.rejected)


def _encoded(key: ItemKey, row: CatalogueRow) -> bytes:
    """Encode a row that everybody who follows the table can take. Raises for any other."""
    expect_row(key, row)
    return encode_row(row)


def _key_bytes(key: ItemKey) -> bytes:
    return key.to_bytes(8, "little")
