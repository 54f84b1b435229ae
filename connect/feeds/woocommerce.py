"""WooCommerce's products: JSON of its REST API (`/wp-json/wc/v3/products`), and the CSV export.

https://woocommerce.github.io/woocommerce-rest-api-docs/#product-properties ·
https://woocommerce.com/document/product-csv-importer-exporter/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from connect.feeds.json_rows import json_rows
from connect.feeds.lines import Encodings
from connect.feeds.rows import MOST_TEXT, Chunks, Fault, Found, Reading, Row, stock_of, text_of
from connect.feeds.tables import table_rows
from contracts.events import shown

MOST_VALUES: Final = 100
COLUMNS: Final = frozenset(
    (
        *("id", "type", "sku", "name", "published", "visibility in catalog", "short description", "description"),
        *("in stock?", "stock", "sale price", "regular price", "categories", "tags", "images", "brands", "parent"),
    )
)


def woocommerce_json(chunks: Chunks, reading: Reading) -> Iterator[Found]:
    """Yield a product an item. Those that are not published, or hidden, are left away without a word."""
    for row in json_rows(chunks, "products"):
        if not isinstance(row.value, Mapping):
            yield Fault(row.line, f"expected a product as an object, got {shown(row.value, 60)}")
        elif row.value.get("status", "publish") == "publish" and row.value.get("catalog_visibility") != "hidden":
            yield from _product(row.line, row.value, reading)


def _product(line: int, product: Mapping[str, Any], reading: Reading) -> Iterator[Found]:
    name = reading.id_field or "id"
    item_id = text_of(product.get(name))
    if not item_id:
        yield Fault(line, f"expected the product's id in {name!r}, got none")
        return
    row = Row(line, item_id)
    row.put("title", text_of(product.get("name")))
    row.describe(text_of(product.get("description")) or text_of(product.get("short_description")))
    brands = _names(product.get("brands"))
    row.put("brand", brands[0][:200] if brands else "")
    categories = _names(product.get("categories"))
    row.categorise(categories[0].split(">") if categories else [])
    row.attribute("categories", categories if len(categories) > 1 else None)
    row.put("link", text_of(product.get("permalink")))
    images = [one for one in _listed(product.get("images")) if isinstance(one, Mapping)]
    row.put("image_url", text_of(images[0].get("src")) if images else "")
    price = row.price("price", product.get("price"), reading)
    regular = row.price("regular_price", product.get("regular_price"), reading)
    row.put("price", None)
    if (paid := price if price is not None else regular) is not None:
        row.document["price"] = paid
        row.attribute("list_price", regular if regular is not None and regular > paid else None)
    row.attribute("sku", text_of(product.get("sku")))
    row.attribute("tags", _names(product.get("tags")))
    for one in _listed(product.get("attributes")):
        if isinstance(one, Mapping) and (label := text_of(one.get("name")).lower()):
            values = [text_of(value)[:MOST_TEXT] for value in _listed(one.get("options")) if text_of(value)]
            row.attribute(label[:100], values)
    row.stock = _stock(product)
    yield from row.finished()


def _stock(product: Mapping[str, Any]) -> int | None:
    available = {"instock": True, "onbackorder": True, "outofstock": False}.get(text_of(product.get("stock_status")))
    if available and text_of(product.get("stock_status")) == "onbackorder":
        return stock_of(None, True)
    return stock_of(
        product.get("stock_quantity") if product.get("manage_stock", True) is not False else None, available
    )


def woocommerce_csv(chunks: Chunks, reading: Reading, taken: Encodings) -> Iterator[Found]:
    """Yield a product an item, from the CSV export. Variations belong to their product, and are no items."""
    for row in table_rows(chunks, taken, lambda name: name.strip().lower(), COLUMNS.__contains__):
        if isinstance(row, Fault):
            yield row
            continue
        fields = row.fields
        hidden = fields.get("visibility in catalog", "visible").lower() == "hidden"
        if "variation" in fields.get("type", "").lower().split(", ") or fields.get("published", "1") != "1" or hidden:
            continue
        yield from _product(row.line, _of_fields(fields), reading)


def _of_fields(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return a row of the export as the REST API shows the product."""
    attributes = [
        {"name": fields[f"attribute {n} name"], "options": fields.get(f"attribute {n} value(s)", "").split(",")}
        for n in range(1, 21)
        if fields.get(f"attribute {n} name")
    ]
    in_stock = {"1": "instock", "0": "outofstock", "backorder": "onbackorder"}.get(fields.get("in stock?", "").lower())
    return {
        "id": fields.get("id"),
        "sku": fields.get("sku"),
        "name": fields.get("name"),
        "description": fields.get("description"),
        "short_description": fields.get("short description"),
        "price": fields.get("sale price") or fields.get("regular price"),
        "regular_price": fields.get("regular price"),
        "stock_status": in_stock,
        "stock_quantity": fields.get("stock"),
        "categories": [{"name": name.strip()} for name in fields.get("categories", "").split(",")],
        "tags": [{"name": name.strip()} for name in fields.get("tags", "").split(",")],
        "brands": [{"name": name.strip()} for name in fields.get("brands", "").split(",")],
        "images": [{"src": fields.get("images", "").split(",")[0].strip()}],
        "attributes": attributes,
    }


def _names(value: object) -> list[str]:
    found = [text_of(one.get("name")) for one in _listed(value) if isinstance(one, Mapping)]
    return [name[:200] for name in found if name]


def _listed(value: object) -> Sequence[Any]:
    return value[:MOST_VALUES] if isinstance(value, list) else ()
