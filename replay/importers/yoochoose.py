"""YooChoose (RecSys Challenge 2015): `yoochoose-clicks.dat` and `yoochoose-buys.dat`, no header lines.

A click is session, time, item, category (`S` a special offer, 0 none, 1 to 12 a category, else a brand); a buy is
session, time, item, price, quantity, with price 0 where the publisher left it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from replay.importers.layout import Hours, OnBroken, Progress
from replay.importers.rows import BadField, Table, event_json, identifier, iso_time, number
from replay.importers.sources import expect, find_beside

CLICKS, BUYS = ("yoochoose-clicks.dat",), ("yoochoose-buys.dat",)
CLICK_COLUMNS = ("session", "timestamp", "item", "category")
BUY_COLUMNS = ("session", "timestamp", "item", "price", "quantity")


@dataclass(frozen=True, slots=True)
class YooChoose:
    """`yoochoose`: the folder or zip, or the clicks file itself; buys beside it come along."""

    name: str = "yoochoose"
    layout: str = "YooChoose: folder or zip with yoochoose-clicks.dat (and yoochoose-buys.dat)"
    picks_hours: bool = False
    idle_gap_ms: int | None = None

    def events(
        self, source: Path, hours: Hours, on_broken: OnBroken, progress: Progress
    ) -> Iterator[tuple[int, bytes]]:
        """Yield one view a click and one purchase a buy, its value price times quantity."""
        clicks, buys = expect(source, CLICKS), find_beside(source, BUYS)
        progress("read", 0, 2)
        with clicks.open_text() as text:
            yield from _clicks(Table(text, str(clicks), on_broken, header=CLICK_COLUMNS), clicks.mark())
        progress("read", 1, 2)
        if buys is not None:
            with buys.open_text() as text:
                yield from _buys(Table(text, str(buys), on_broken, header=BUY_COLUMNS), buys.mark())
        progress("read", 2, 2)


def _clicks(table: Table, mark: str) -> Iterator[tuple[int, bytes]]:
    for line, (session, at, item, category) in table:
        try:
            yield event_json(
                f"yc-c-{mark}-{line}",
                "view",
                identifier("session", session),
                identifier("item", item),
                iso_time("timestamp", at),
                context={"category": category} if category not in ("", "0") else None,
            )
        except BadField as bad:
            table.broken(line, bad.column, str(bad))


def _buys(table: Table, mark: str) -> Iterator[tuple[int, bytes]]:
    for line, (session, at, item, price, quantity) in table:
        try:
            paid = number("price", price) * number("quantity", quantity)
            yield event_json(
                f"yc-b-{mark}-{line}",
                "purchase",
                identifier("session", session),
                identifier("item", item),
                iso_time("timestamp", at),
                value=paid or None,
            )
        except BadField as bad:
            table.broken(line, bad.column, str(bad))
