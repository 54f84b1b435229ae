"""RetailRocket's e-commerce events (Kaggle, 2016): `events.csv`, `item_properties_part1/2.csv`, `category_tree.csv`.

There are visitors but no sessions, so sessions are cut at the idle gap. Property names are hashed by the publisher,
but for `categoryid` and `available`; property 790 is the price, and numbers begin with `n` (`n12000.000`).
An item is as its newest properties say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from contracts.items import Item
from replay.importers.layout import IDLE_GAP_MS, Hours, OnBroken, Progress
from replay.importers.rows import BadField, Table, event_json, event_type, identifier, milliseconds, number
from replay.importers.sources import Source, expect, find, find_beside

EVENTS = ("events.csv",)
PROPERTIES = ("item_properties_part1.csv", "item_properties_part2.csv")
TREE = ("category_tree.csv",)
TYPES = {"view": "view", "addtocart": "cart", "transaction": "purchase"}
PRICE = "790"
DEEPEST, LONGEST_PATH = 16, 300

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetailRocket:
    """`retailrocket`: the folder or zip of the four files, or `events.csv` alone."""

    idle_gap_ms: int | None = IDLE_GAP_MS
    name: str = "retailrocket"
    layout: str = "RetailRocket: folder or zip with events.csv, item_properties_part1/2.csv, category_tree.csv"
    picks_hours: bool = False

    def events(
        self, source: Path, hours: Hours, on_broken: OnBroken, progress: Progress
    ) -> Iterator[tuple[int, bytes]]:
        """Yield one event a line; `event_id` is `rr-<mark>-<line>`, the visitor is the user."""
        file = expect(source, EVENTS)
        progress("read", 0, 1)
        prefix = f"rr-{file.mark()}"
        with file.open_text() as text:
            table = Table(text, str(file), on_broken)
            when, visitor, kind = table.column("timestamp"), table.column("visitorid"), table.column("event")
            item = table.column("itemid")
            for line, row in table:
                try:
                    yield event_json(
                        f"{prefix}-{line}",
                        event_type("event", row[kind], TYPES),
                        user := identifier("visitorid", row[visitor]),
                        identifier("itemid", row[item]),
                        milliseconds("timestamp", row[when]),
                        user_id=user,
                    )
                except BadField as bad:
                    table.broken(line, bad.column, str(bad))
        progress("read", 1, 1)

    def items(self, source: Path, on_broken: OnBroken, progress: Progress) -> Iterator[tuple[str, Item]]:
        """Yield every item that the property files name. Memory holds category, price and stock of each item."""
        files = [file for name in PROPERTIES if (file := find(source, (name,))) is not None]
        if not files:
            expect(source, PROPERTIES)
        newest = _Newest()
        for done, file in enumerate(files):
            progress("read", done, len(files))
            _read_properties(file, newest, on_broken)
        progress("read", len(files), len(files))
        tree = find_beside(source, TREE)
        path_of = _paths(tree, on_broken)
        for item_id in sorted(newest.known):
            price, available = newest.price.get(item_id), newest.available.get(item_id)
            yield (
                item_id,
                Item(
                    title=f"item {item_id}",
                    category=path_of(newest.category[item_id][1]) if item_id in newest.category else "",
                    price=max(0.0, float(price[1])) if price else None,
                    stock=0 if available is not None and available[1] == "0" else None,
                ),
            )


class _Newest:
    """The newest value of what is kept of each item. Mutable: it is filled line by line."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.category: dict[str, tuple[int, str]] = {}
        self.price: dict[str, tuple[int, float]] = {}
        self.available: dict[str, tuple[int, str]] = {}

    def take(self, at_ms: int, item_id: str, name: str, value: str) -> None:
        self.known.add(item_id)
        if name == "categoryid":
            _keep_newer(self.category, item_id, at_ms, identifier("value", value))
        elif name == "available":
            _keep_newer(self.available, item_id, at_ms, value)
        elif name == PRICE:
            _keep_newer(self.price, item_id, at_ms, number("value", value.removeprefix("n")))


def _keep_newer(kept: dict[str, tuple[int, T]], item_id: str, at_ms: int, value: T) -> None:
    before = kept.get(item_id)
    if before is None or at_ms >= before[0]:
        kept[item_id] = (at_ms, value)


def _read_properties(file: Source, newest: _Newest, on_broken: OnBroken) -> None:
    with file.open_text() as text:
        table = Table(text, str(file), on_broken)
        when, item = table.column("timestamp"), table.column("itemid")
        name, value = table.column("property"), table.column("value")
        for line, row in table:
            try:
                at_ms = milliseconds("timestamp", row[when])
                newest.take(at_ms, identifier("itemid", row[item]), row[name], row[value])
            except BadField as bad:
                table.broken(line, bad.column, str(bad))


def _paths(file: Source | None, on_broken: OnBroken) -> Callable[[str], str]:
    """Return what turns a category id into its path, widest first; without a tree it is its own path."""
    parents: dict[str, str] = {}
    if file is not None:
        with file.open_text() as text:
            table = Table(text, str(file), on_broken)
            child, parent = table.column("categoryid"), table.column("parentid")
            parents = {row[child]: row[parent] for _, row in table}

    def path_of(category: str) -> str:
        path = [category]
        while (above := parents.get(path[-1], "")) not in ("", *path) and len(path) < DEEPEST:
            if len("/".join([*path, above])) > LONGEST_PATH:
                break
            path.append(above)
        return "/".join(reversed(path))

    return path_of
