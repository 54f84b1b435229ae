"""The formats by name: bytes in, items and faults out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import orjson

from connect.feeds.lines import Encodings, byte_lines
from connect.feeds.merchant import item_of_fields, known, named
from connect.feeds.rows import MOST_ITEM_BYTES, Chunks, Fault, Found, Reading, Row, stock_of, text_of
from connect.feeds.shopify import shopify_csv, shopify_json
from connect.feeds.tables import table_rows
from connect.feeds.woocommerce import woocommerce_csv, woocommerce_json
from connect.feeds.xml_rows import xml_rows
from contracts.events import shown


class FeedFormat(StrEnum):
    MERCHANT_XML = "merchant-xml"
    RSS = "rss"
    CSV = "csv"
    JSONL = "jsonl"
    SHOPIFY = "shopify"
    WOOCOMMERCE = "woocommerce"


@dataclass(slots=True)
class Taken:
    """What was chosen while a feed was read. Mutable."""

    encodings: Encodings = field(default_factory=Encodings)


def read_feed(format: FeedFormat, chunks: Chunks, reading: Reading, taken: Taken) -> Iterator[Found]:
    """Yield the items of a feed and what was wrong, in its order. Memory holds an item and a chunk.

    Raises FeedBroken where the feed as a whole cannot be read, and whatever `chunks` raises.
    """
    return _READERS[format](chunks, reading, taken)


def _xml(chunks: Chunks, reading: Reading, taken: Taken) -> Iterator[Found]:
    for row in xml_rows(chunks):
        yield from item_of_fields(row.line, row.fields, reading)


def _csv(chunks: Chunks, reading: Reading, taken: Taken) -> Iterator[Found]:
    for row in table_rows(chunks, taken.encodings, named, known):
        if isinstance(row, Fault):
            yield row
        else:
            yield from item_of_fields(row.line, row.fields, reading)


def _jsonl(chunks: Chunks, reading: Reading, taken: Taken) -> Iterator[Found]:
    """Yield documents as `PUT /api/items/{id}` takes them, with `item_id` (or `id`) beside their fields."""
    for line, raw in enumerate(byte_lines(chunks), 1):
        if not raw.strip():
            continue
        try:
            document = orjson.loads(raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw)
        except orjson.JSONDecodeError as error:
            yield Fault(line, f"expected a JSON object, got one that cannot be read: {error}")
            continue
        if not isinstance(document, dict):
            yield Fault(line, f"expected a JSON object, got {shown(document, 60)}")
            continue
        yield from _of_document(line, document, reading)


def _of_document(line: int, document: dict[str, Any], reading: Reading) -> Iterator[Found]:
    name = reading.id_field or ("item_id" if "item_id" in document else "id")
    item_id = text_of(document.pop(name, None))
    if not item_id:
        yield Fault(line, f"expected an id in {name!r}, got none")
        return
    row = Row(line, item_id)
    price, stock, attributes = (document.pop(one, None) for one in ("price", "stock", "attributes"))
    row.document = {key: value for key, value in document.items() if value is not None and key != "item_id"}
    row.attributes = dict(attributes) if isinstance(attributes, dict) else {}
    if (amount := row.price("price", price, reading)) is not None:
        row.document["price"] = amount
    row.stock = stock_of(stock, None)
    if stock is not None and row.stock is None:
        row.noted.append(f"stock: expected a number, got {shown(stock, 60)}")
    yield from row.finished()


def _shopify(chunks: Chunks, reading: Reading, taken: Taken) -> Iterator[Found]:
    head, whole = _headed(chunks)
    return shopify_json(whole, reading) if head in "[{" else shopify_csv(whole, reading, taken.encodings)


def _woocommerce(chunks: Chunks, reading: Reading, taken: Taken) -> Iterator[Found]:
    head, whole = _headed(chunks)
    return woocommerce_json(whole, reading) if head in "[{" else woocommerce_csv(whole, reading, taken.encodings)


def _headed(chunks: Chunks) -> tuple[str, Iterator[bytes]]:
    """Return the first character that is no space ('' of an empty feed, which is taken for JSON), and all chunks."""
    pieces, held, head = iter(chunks), list[bytes](), b""
    for piece in pieces:
        held.append(piece)
        head = b"".join(held).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        if head or sum(map(len, held)) > MOST_ITEM_BYTES:
            break

    def whole() -> Iterator[bytes]:
        yield from held
        held.clear()
        yield from pieces

    return head.decode("latin-1"), whole()


_READERS: Final[Mapping[FeedFormat, Callable[[Chunks, Reading, Taken], Iterator[Found]]]] = {
    FeedFormat.MERCHANT_XML: _xml,
    FeedFormat.RSS: _xml,
    FeedFormat.CSV: _csv,
    FeedFormat.JSONL: _jsonl,
    FeedFormat.SHOPIFY: _shopify,
    FeedFormat.WOOCOMMERCE: _woocommerce,
}
