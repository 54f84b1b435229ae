"""Loading a catalogue file into a running gateway, in slices, with progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import Progress

from contracts.errors import NextclickError
from contracts.items import Item, item_document
from eventlog.files import read_items
from nextclick.stack.client import Client

SLICE = 1000


def load_items_file(console: Console, path: Path, url: str) -> None:
    """Load an items file and say how many were accepted."""
    with Client(url) as client:
        accepted = load_items(console, list(read_items(path)), client)
    console.print(f"{accepted:,} items accepted; recommendations see them now.")


def load_items(console: Console, items: list[tuple[str, Item]], client: Client) -> int:
    """Load items; returns how many were accepted, once all are visible. Raises NextclickError when one is refused."""
    accepted = 0
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("loading items", total=len(items))
        for part in _slices(items):
            answer = client.put_items(_line(item_id, item) for item_id, item in part)
            if answer["rejected"]:
                first = answer["rejected"][0]
                raise NextclickError(f"item {part[first['index']][0]!r} was refused: {first['reason']}")
            accepted += answer["accepted"]
            bar.advance(task, len(part))
    return accepted


def _slices(items: Iterable[tuple[str, Item]]) -> Iterator[list[tuple[str, Item]]]:
    rest = iter(items)
    while part := list(islice(rest, SLICE)):
        yield part


def _line(item_id: str, item: Item) -> bytes:
    return orjson.dumps(item_document(item_id, item))
