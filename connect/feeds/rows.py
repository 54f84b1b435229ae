"""What a feed is read as: items, and faults with the lines they stand in; and how one row becomes an item."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from connect.prices import Mark, Price, read_price
from contracts.errors import NextclickError
from contracts.events import Identifier, Rejection, shown
from contracts.items import UNLIMITED_STOCK, Item, item_document
from contracts.nesting import DEEPEST, deeper_than

MOST_ITEM_BYTES: Final = 1 << 20
"""Bytes of one item in a feed. More is a feed that is damaged, or built to fill memory."""
MOST_FIELDS: Final = 500
LONGEST_DESCRIPTION: Final = 20_000
LONGEST_CATEGORY: Final = 300
MOST_TEXT: Final = 1000
_ID: Final = TypeAdapter(Identifier)
_TAG: Final = re.compile(r"<[^<>]{0,2000}>")
_SPACE: Final = re.compile(r"\s+")


class FeedBroken(NextclickError):
    """The feed as a whole cannot be read. Nothing of it is applied. `line` is where, from 1; 0: not told."""

    def __init__(self, detail: str, line: int = 0) -> None:
        self.line = line
        super().__init__(f"line {line}: {detail}" if line else detail)


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One item: `document` as `PUT /api/items` takes it, without id and stock. `stock`: None where the feed says
    nothing of it. `reading`: how its price was read, '' for none. `dated`: its price is that of some days only.
    """

    line: int
    item_id: str
    document: dict[str, Any]
    stock: int | None = None
    reading: str = ""
    dated: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What was wrong in a line. `left_out`: the item was not taken; else only a field of it. `item_id`: None where the
    line does not say whose it is.
    """

    line: int
    reason: str
    item_id: str | None = None
    left_out: bool = True


Found = FeedItem | Fault
Chunks = Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a feed is to be read. `id_field`: the field that holds the item's id; '' is the format's own. `decimal`: the
    mark before its decimals, where prices can be read both ways. `base`: the shop's address, for links. `now_s`: the
    time, for prices that hold for some days only.
    """

    id_field: str = ""
    decimal: Mark | None = None
    currency: str | None = None
    base: str = ""
    now_s: float = 0.0


@dataclass(slots=True)
class Row:
    """One item while it is read. Mutable: fields are added, faults collect."""

    line: int
    item_id: str
    document: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    stock: int | None = None
    reading: str = ""
    dated: bool = False
    noted: list[str] = field(default_factory=list)

    def put(self, name: str, value: object) -> None:
        """Set a field, where there is something."""
        if value not in (None, "", [], {}):
            self.document[name] = value

    def attribute(self, name: str, value: object) -> None:
        if value not in (None, "", [], {}):
            self.attributes[name] = value

    def describe(self, text: str) -> None:
        """Set the description: plain text, cut where the catalogue ends."""
        plain = plain_text(text)
        if len(plain) > LONGEST_DESCRIPTION:
            self.noted.append(f"description: cut from {len(plain):,} to {LONGEST_DESCRIPTION:,} characters")
        self.put("description", plain[:LONGEST_DESCRIPTION])

    def categorise(self, path: Iterable[str]) -> None:
        """Set the category from its names, widest first; the narrowest go where it is too long."""
        names = [_SPACE.sub(" ", name.replace("/", "-")).strip() for name in path]
        names = [name for name in names if name]
        while names and len("/".join(names)) > LONGEST_CATEGORY:
            names.pop()
            self.noted.append(f"category: cut to {LONGEST_CATEGORY} characters")
        self.put("category", "/".join(names))

    def price(self, name: str, value: object, reading: Reading, currency: str | None = None) -> float | None:
        """Return the price that a field says, and note how it was read; None, and a note, where it says none."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        found = read_price(value, currency=currency or reading.currency, decimal=reading.decimal)
        if isinstance(found, Rejection):
            self.noted.append(f"{name}: {found.reason}: {found.detail}")
            return None
        self._read_as(name, value, found, settled=reading.decimal is not None)
        return found.amount

    def _read_as(self, name: str, value: object, found: Price, *, settled: bool) -> None:
        self.reading = str(found.reading)
        if found.currency:
            self.attributes["currency"] = found.currency
        if found.ambiguous and not settled:
            self.noted.append(f"{name}: {shown(value, 60)} was read as {found}: set the feed's --decimal")

    def finished(self) -> Iterator[Found]:
        """Yield the item, or why it is none, and what was noted."""
        if self.attributes:
            self.document["attributes"] = self.attributes
        refused = problem(self.item_id, self.document)
        if refused is not None:
            yield Fault(self.line, refused, self.item_id or None)
            return
        yield FeedItem(self.line, self.item_id, self.document, self.stock, self.reading, self.dated)
        for text in self.noted:
            yield Fault(self.line, text, self.item_id, left_out=False)


def problem(item_id: str, document: Mapping[str, Any]) -> str | None:
    """Say why a document is no item of the catalogue's: the first field that is not as it must be. None where it is."""
    try:
        _ID.validate_python(item_id)
    except ValidationError:
        return f"id: expected 1 to 256 characters, got {shown(item_id, 40)}"
    try:
        if deeper_than(dict(document), DEEPEST):
            return f"expected fields nested at most {DEEPEST} deep"
        Item.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "/".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}, got {shown(first.get('input'), 60)}"
    return None


def put_document(item: FeedItem, stock: int | None) -> dict[str, Any]:
    """Return an item's document as a line of `POST /api/items` holds it."""
    document = item_document(item.item_id, Item.model_validate(item.document))
    return document if stock is None else {**document, "stock": stock}


def plain_text(text: str) -> str:
    """Return what a text in HTML says, without its marks; other text as it is, with single spaces."""
    if "<" in text or "&" in text:
        text = html.unescape(_TAG.sub(" ", text))
    return _SPACE.sub(" ", text).strip()


def text_of(value: object) -> str:
    """Return a field's text, '' for what holds none."""
    if isinstance(value, bool) or value is None or (isinstance(value, float) and not isfinite(value)):
        return ""
    return str(value).strip() if isinstance(value, str | int | float) else ""


def stock_of(quantity: object, available: bool | None) -> int | None:
    """Return the stock that a quantity and an availability say: no item that is not available has any, and one that is
    available without a quantity never runs out. None where neither is said.
    """
    text = text_of(quantity)
    number = float(text) if re.fullmatch(r"-?\d{1,12}(\.\d{1,6})?", text, re.ASCII) else None
    if available is False:
        return 0
    if number is not None and (number > 0 or available is None):
        return max(0, min(int(number), UNLIMITED_STOCK))
    return UNLIMITED_STOCK if available else None
