"""Loading a catalogue file into a running gateway, in slices, with progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import Progress

from contracts.errors import NextclickError
from contracts.items import Item, item_document
from eventlog.files import BrokenLine
from eventlog.item_tables import column_map, read_any_items
from nextclick.stack.client import Client

SLICE = 1000
NAMED = 20
"""Broken rows that are named one by one."""
REPEATS = 5
"""Repeated ids that are named, and lines of each."""


class Repeats:
    """Ids that stand in a file more than once. Mutable: `see` takes ids with their lines, in order."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._lines: dict[str, list[int]] = {}

    def see(self, item_id: str, line: int) -> None:
        first = self._first.setdefault(item_id, line)
        if first != line:
            self._lines.setdefault(item_id, [first]).append(line)

    def told(self) -> list[str]:
        """Return what is to be said of them, for people: nothing where each id stands once."""
        if not self._lines:
            return []
        named = [
            f"{item_id!r} (lines {', '.join(map(str, lines[:REPEATS]))}{', …' if len(lines) > REPEATS else ''})"
            for item_id, lines in list(self._lines.items())[:REPEATS]
        ]
        more = len(self._lines) - len(named)
        others = f" and {more:,} more" if more else ""
        return [
            f"warning: {len(self._lines):,} item ids stand in the file more than once, the last one counts: "
            f"{', '.join(named)}{others}"
        ]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the gateway answered to a catalogue: how many items it took, and whether recommendations see all of them."""

    accepted: int
    visible: bool

    def __str__(self) -> str:
        if not self.accepted:
            return "0 items accepted: there was none to load."
        seen = (
            "recommendations see them now."
            if self.visible
            else "recommendations do not see all of them yet: they are in the log, and seen once the items flow has "
            "applied them (`nextclick progress` shows how far it is)."
        )
        return f"{self.accepted:,} items accepted; {seen}"


def load_items_file(
    console: Console,
    path: Path,
    url: str,
    *,
    columns: Sequence[str] = (),
    lists: Sequence[str] = (),
    key: str | None = None,
) -> int:
    """Load an items file or table and say what was answered, which rows were left out, and which ids came twice.
    Returns how many were left out.

    Raises NextclickError where no row can be taken.
    """
    broken: list[BrokenLine] = []
    found = Repeats()
    items = list(read_any_items(path, column_map(columns), lists=lists, on_error=broken.append, on_item=found.see))
    if broken and not items:
        raise NextclickError(f"{broken[0]}; none of the {len(broken):,} rows can be taken: nothing was loaded")
    with Client(url, key=key) as client:
        loaded = load_items(console, items, client)
    console.print(str(loaded), soft_wrap=True, highlight=False)
    for said in found.told():
        console.print(said, soft_wrap=True, highlight=False, markup=False, style="yellow")
    for one in broken[:NAMED]:
        console.print(f"left out: {one}", soft_wrap=True, highlight=False, markup=False)
    if broken:
        more = f" ({len(broken) - NAMED:,} are not named)" if len(broken) > NAMED else ""
        console.print(f"{len(broken):,} rows were left out{more}: mend them and load the file again.", soft_wrap=True)
    return len(broken)


def load_items(console: Console, items: list[tuple[str, Item]], client: Client) -> Loaded:
    """Load items and wait for them to be seen. Raises NextclickError when one is refused."""
    accepted, visible = 0, True
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("loading items", total=len(items))
        for part in _slices(items):
            answer = client.put_items(_line(item_id, item) for item_id, item in part)
            accepted += _accepted(answer, part, accepted)
            visible &= answer.get("visible") is True
            bar.advance(task, len(part))
    return Loaded(accepted, visible)


def _accepted(answer: Mapping[str, Any], part: Sequence[tuple[str, Item]], before: int) -> int:
    """Return how many of these items were taken, after `before` others. Raises NextclickError unless all were."""
    taken, refused = answer.get("accepted"), answer.get("rejected")
    if not isinstance(taken, int) or not isinstance(refused, list):
        raise NextclickError(f"expected accepted and rejected in a gateway's answer, got {dict(answer)!s:.100}")
    if refused:
        first, more = refused[0], len(refused) - 1
        others = f" (and {more:,} more)" if more else ""
        raise NextclickError(
            f"item {part[first['index']][0]!r} was refused{others}: {first['reason']}; {before + taken:,} items were "
            "accepted before it stopped"
        )
    return taken


def _slices(items: Iterable[tuple[str, Item]]) -> Iterator[list[tuple[str, Item]]]:
    rest = iter(items)
    while part := list(islice(rest, SLICE)):
        yield part


def _line(item_id: str, item: Item) -> bytes:
    return orjson.dumps(item_document(item_id, item))
