"""Diginetica (CIKM Cup 2016): `train-item-views.csv` and its friends, columns parted by semicolons.

The publisher gives a date and the milliseconds since the session began, not the time of day: sessions start at
midnight (UTC) of their date, or, with `spread`, at a moment of that day that follows from the session's id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import orjson
import xxhash

from contracts.items import Item
from replay.importers.layout import DAY_MS, Hours, OnBroken, Progress
from replay.importers.rows import (
    LONGEST_ID,
    BadField,
    Table,
    event_json,
    identifier,
    iso_time,
    number,
    optional,
)
from replay.importers.sources import Source, expect, find_beside

VIEWS = ("train-item-views.csv",)
PURCHASES = ("train-purchases.csv",)
QUERIES = ("train-queries.csv",)
PRODUCTS, CATEGORIES = ("products.csv",), ("product-categories.csv",)
MOST_SHOWN = 1000
SESSION, USER, ITEM = ("sessionId", "session_id"), ("userId", "user_id"), ("itemId", "item_id")

Start = Callable[[str, str], int]
"""(session id, date) to the epoch ms at which the session began."""


@dataclass(frozen=True, slots=True)
class Diginetica:
    """`diginetica`: the folder or zip, or `train-item-views.csv` itself. Purchases and result lists come along."""

    spread: bool = False
    name: str = "diginetica"
    layout: str = "Diginetica: folder or zip with train-item-views.csv (train-purchases.csv, train-queries.csv)"
    picks_hours: bool = False
    idle_gap_ms: int | None = None

    def events(
        self, source: Path, hours: Hours, on_broken: OnBroken, progress: Progress
    ) -> Iterator[tuple[int, bytes]]:
        """Yield views, purchases, and one impression a list of search results."""
        parts: list[tuple[Source | None, Callable[[Table, str, Start], Iterator[tuple[int, bytes]]]]] = [
            (expect(source, VIEWS), _views),
            (find_beside(source, PURCHASES), _purchases),
            (find_beside(source, QUERIES), _queries),
        ]
        start = _spread_start if self.spread else _midnight
        for done, (file, read) in enumerate(parts):
            progress("read", done, len(parts))
            if file is not None:
                with file.open_text() as text:
                    yield from read(Table(text, str(file), on_broken, delimiter=";"), file.mark(), start)
        progress("read", len(parts), len(parts))

    def items(self, source: Path, on_broken: OnBroken, progress: Progress) -> Iterator[tuple[str, Item]]:
        """Yield `products.csv`: the price is two to the power of `pricelog2`, the title its hashed name tokens."""
        categories: dict[str, str] = {}
        beside = find_beside(source, CATEGORIES)
        if beside is not None:
            with beside.open_text() as text:
                table = Table(text, str(beside), on_broken, delimiter=";")
                item, category = table.column(*ITEM), table.column("categoryId", "category_id")
                categories = {row[item]: path for _, row in table if (path := optional(row[category]))}
        file = expect(source, PRODUCTS)
        progress("read", 0, 1)
        with file.open_text() as text:
            yield from _products(Table(text, str(file), on_broken, delimiter=";"), categories)
        progress("read", 1, 1)


def _views(table: Table, mark: str, start: Start) -> Iterator[tuple[int, bytes]]:
    session, user, item = table.column(*SESSION), table.column(*USER), table.column(*ITEM)
    since, date = table.column("timeframe"), table.column("eventdate")
    for line, row in table:
        try:
            session_id, item_id = identifier("sessionId", row[session]), identifier("itemId", row[item])
            ts_ms = start(session_id, row[date]) + _since(row[since])
            yield event_json(f"digi-v-{mark}-{line}", "view", session_id, item_id, ts_ms, user_id=optional(row[user]))
        except BadField as bad:
            table.broken(line, bad.column, str(bad))


def _purchases(table: Table, mark: str, start: Start) -> Iterator[tuple[int, bytes]]:
    session, user, item = table.column(*SESSION), table.column(*USER), table.column(*ITEM)
    since, date = table.column("timeframe"), table.column("eventdate")
    for line, row in table:
        try:
            session_id, item_id = identifier("sessionId", row[session]), identifier("itemId", row[item])
            ts_ms = start(session_id, row[date]) + _since(row[since])
            yield event_json(
                f"digi-p-{mark}-{line}", "purchase", session_id, item_id, ts_ms, user_id=optional(row[user])
            )
        except BadField as bad:
            table.broken(line, bad.column, str(bad))


def _queries(table: Table, mark: str, start: Start) -> Iterator[tuple[int, bytes]]:
    query, session, shown = table.column("queryId"), table.column(*SESSION), table.column("items")
    since, date = table.column("timeframe"), table.column("eventdate")
    for line, row in table:
        try:
            session_id = identifier("sessionId", row[session])
            ts_ms = start(session_id, row[date]) + _since(row[since])
            items = [identifier("items", item) for item in row[shown].split(",")][:MOST_SHOWN]
            listed = f"digi-{mark}-{identifier('queryId', row[query])}"[:LONGEST_ID]
            fields = {"v": 1, "event_id": f"digi-q-{mark}-{line}", "type": "impression", "session_id": session_id}
            yield ts_ms, orjson.dumps({**fields, "ts": ts_ms, "items": items, "request_id": listed})
        except BadField as bad:
            table.broken(line, bad.column, str(bad))


def _products(table: Table, categories: dict[str, str]) -> Iterator[tuple[str, Item]]:
    item, price, name = table.column(*ITEM), table.column("pricelog2"), table.column("product.name.tokens")
    for line, row in table:
        try:
            item_id = identifier("itemId", row[item])
            cost = 2.0 ** min(number("pricelog2", row[price]), 40.0)
        except BadField as bad:
            table.broken(line, bad.column, str(bad))
            continue
        title = row[name].replace(",", " ")[:1000] or f"item {item_id}"
        yield item_id, Item(title=title, category=categories.get(item_id, "")[:300], price=round(cost, 2))


def _since(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise BadField("timeframe", f"expected milliseconds since the session began, got {text!r:.60}")
    return int(text)


@lru_cache(maxsize=1000)
def _date(text: str) -> int:
    return iso_time("eventdate", text)


def _midnight(session_id: str, date: str) -> int:
    return _date(date)


def _spread_start(session_id: str, date: str) -> int:
    return _date(date) + xxhash.xxh3_64_intdigest(session_id.encode()) % DAY_MS
