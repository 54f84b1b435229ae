"""Recorded logs and items files, plain and packed: read to the end, or refused with file and line."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from contracts.errors import ImportFormatError
from contracts.items import Item
from eventlog.files import BrokenLine, read_events, read_header, read_items, read_raw, write_events, write_items
from tests.fuzz.files import folder, packed, written
from tests.fuzz.target import Target, dumped, read_by_one
from tests.fuzz.targets import events

LOG = b'{"format":"nextclick-events","v":1,"events":2,"sessions":1,"items":3,"first_ms":1,"last_ms":2,"sorted":true,'
LOG += b'"anonymised":false}\n' + dumped(events.CLICK) + b"\n" + dumped(events.SHOWN) + b"\n"
ITEMS = b'{"item_id":"a","title":"A"}\n{"item_id":"b","title":"B","price":3,"own":[1]}\n'
KINDS = ("a.jsonl", "a.jsonl.zst", "a.jsonl.gz")


def check(raw: bytes) -> None:
    """The last byte of an input says how its file is packed."""
    path = written(KINDS[(raw[-1] if raw else 0) % len(KINDS)], raw[:-1])
    broken: list[BrokenLine] = []
    readers = (lambda: _header(path), lambda: _raw(path), lambda: _events(path, broken), lambda: _items(path, broken))
    read_by_one(readers, (ImportFormatError,))
    str([str(one) for one in broken]).encode()


def _header(path: Path) -> None:
    header = read_header(path)
    assert all(isinstance(one, int) for one in (header.events, header.sessions, header.items))
    assert all(one is None or isinstance(one, int) for one in (header.first_ms, header.last_ms))


def _raw(path: Path) -> None:
    for line in read_raw(path):
        assert b"\n" not in line


def _events(path: Path, broken: list[BrokenLine]) -> None:
    found = list(read_events(path, on_error=broken.append))
    if all(one.ts <= other.ts for one, other in pairwise(found)):
        out = folder() / "again.jsonl"
        write_events(out, found)
        assert list(read_events(out)) == found


def _items(path: Path, broken: list[BrokenLine]) -> None:
    found = list(read_items(path, on_error=broken.append))
    out = folder() / "items-again.jsonl"
    write_items(out, found)
    assert [name for name, _ in read_items(out)] == [name for name, _ in found]
    assert all(isinstance(item, Item) for _, item in found)


TARGET = Target(
    check,
    {
        f"{what}, {kind}": raw + bytes([number])
        for what, content in (("log", LOG), ("items", ITEMS))
        for number, (kind, raw) in enumerate(packed(content).items())
    },
    code=("eventlog.files", "eventlog.packed", "contracts.events", "contracts.items"),
    refusals=(ImportFormatError,),
    words=(b'"format":"nextclick-events"', b'"v":1', b'"events":', b'"first_ms":', b"\n", b'"item_id":', b'"ts":'),
)
