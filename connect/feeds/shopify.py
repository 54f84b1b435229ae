"""Shopify's products: JSON (`/products.json` of the storefront, `/admin/api/.../products.json`) and the CSV export.

https://shopify.dev/docs/api/admin-rest/latest/resources/product ·
https://help.shopify.com/en/manual/products/import-export/using-csv
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from connect.feeds.json_rows import json_rows
from connect.feeds.lines import Encodings
from connect.feeds.rows import MOST_TEXT, Chunks, Fault, Found, Reading, Row, stock_of, text_of
from connect.feeds.tables import TableRow, table_rows
from contracts.events import shown

MOST_OPTIONS: Final = 100
COLUMNS: Final = frozenset(
    (
        *("handle", "title", "body (html)", "vendor", "product category", "type", "tags", "published", "status"),
        *("variant sku", "variant price", "variant compare at price", "variant inventory qty", "image src"),
        *("variant inventory policy", "variant inventory tracker"),
    )
)


def shopify_json(chunks: Chunks, reading: Reading) -> Iterator[Found]:
    """Yield a product an item, from the JSON of either API. Those that are not active are left away without a word."""
    for row in json_rows(chunks, "products"):
        if not isinstance(row.value, Mapping):
            yield Fault(row.line, f"expected a product as an object, got {shown(row.value, 60)}")
        elif row.value.get("status", "active") == "active":
            yield from _product(row.line, row.value, reading)


def _product(line: int, product: Mapping[str, Any], reading: Reading) -> Iterator[Found]:
    variants = [one for one in _listed(product.get("variants")) if isinstance(one, Mapping)]
    name = reading.id_field or "id"
    item_id = text_of(variants[0].get("sku") if name == "sku" and variants else product.get(name))
    if not item_id:
        yield Fault(line, f"expected the product's id in {name!r}, got none")
        return
    row = Row(line, item_id)
    row.put("title", text_of(product.get("title")))
    row.describe(text_of(product.get("body_html")))
    row.put("brand", text_of(product.get("vendor"))[:200])
    row.categorise([text_of(product.get("product_type"))])
    handle = text_of(product.get("handle"))
    row.put("link", f"{reading.base}/products/{handle}" if handle and reading.base else "")
    images = [one for one in _listed(product.get("images")) if isinstance(one, Mapping)]
    row.put("image_url", text_of(images[0].get("src")) if images else "")
    _offers(row, variants, reading)
    row.attribute("handle", handle)
    row.attribute("tags", _words(product.get("tags")))
    row.stock = _stock(variants)
    yield from row.finished()


def _offers(row: Row, variants: Sequence[Mapping[str, Any]], reading: Reading) -> None:
    """Take the lowest price of the variants, and their options (sizes, colours)."""
    cheapest: tuple[float, Mapping[str, Any]] | None = None
    for one in variants:
        price = row.price("price", one.get("price"), reading)
        if price is not None and (cheapest is None or price < cheapest[0]):
            cheapest = price, one
    if cheapest is not None:
        row.document["price"] = cheapest[0]
        full = row.price("compare_at_price", cheapest[1].get("compare_at_price"), reading)
        row.attribute("list_price", full if full is not None and full > cheapest[0] else None)
    for name in ("option1", "option2", "option3"):
        values = dict.fromkeys(text_of(one.get(name))[:MOST_TEXT] for one in variants)
        row.attribute(name, [value for value in values if value and value != "Default Title"][:MOST_OPTIONS])


def _stock(variants: Sequence[Mapping[str, Any]]) -> int | None:
    """Return what all variants have together; unlimited where one may be sold beyond its stock."""
    found = [_variant_stock(one) for one in variants]
    known = [one for one in found if one is not None]
    return min(sum(known), 2**31 - 1) if known else None


def _variant_stock(one: Mapping[str, Any]) -> int | None:
    available = one.get("available")
    if isinstance(available, bool):  # the storefront says no more
        return stock_of(None, available)
    if one.get("inventory_policy") == "continue" or ("inventory_management" in one and not one["inventory_management"]):
        return stock_of(None, True)
    return stock_of(one.get("inventory_quantity"), None)


def shopify_csv(chunks: Chunks, reading: Reading, taken: Encodings) -> Iterator[Found]:
    """Yield a product an item, from the CSV export: rows of one handle follow each other, the first has the product.

    The export has no ids of products: the handle is the item's id, or the SKU of its first variant (`id_field`).
    """
    group: list[TableRow] = []
    for row in table_rows(chunks, taken, lambda name: name.strip().lower(), COLUMNS.__contains__):
        if isinstance(row, Fault):
            yield row
            continue
        if group and row.fields.get("handle") != group[0].fields.get("handle"):
            yield from _of_rows(group, reading)
            group = []
        if len(group) < MOST_OPTIONS * 10:
            group.append(row)
    if group:
        yield from _of_rows(group, reading)


def _of_rows(rows: Sequence[TableRow], reading: Reading) -> Iterator[Found]:
    first = rows[0].fields
    if first.get("status", "active").lower() != "active" or first.get("published", "true").lower() == "false":
        return
    variants = [
        _variant(one.fields) for one in rows if one.fields.get("variant price") or one.fields.get("variant sku")
    ]
    images = [{"src": one.fields["image src"]} for one in rows if one.fields.get("image src")][:1]
    category = first.get("type") or first.get("product category", "").rpartition(">")[2]
    product = {
        "id": first.get("handle"),
        "handle": first.get("handle"),
        "title": first.get("title"),
        "body_html": first.get("body (html)"),
        "vendor": first.get("vendor"),
        "product_type": category.strip(),
        "tags": first.get("tags"),
        "images": images,
        "variants": variants,
    }
    yield from _product(rows[0].line, product, reading)


def _variant(fields: Mapping[str, str]) -> dict[str, Any]:
    return {
        "sku": fields.get("variant sku"),
        "price": fields.get("variant price"),
        "compare_at_price": fields.get("variant compare at price"),
        "inventory_quantity": fields.get("variant inventory qty"),
        "inventory_policy": fields.get("variant inventory policy"),
        "inventory_management": fields.get("variant inventory tracker"),
        **{f"option{n}": fields.get(f"option{n} value") for n in (1, 2, 3)},
    }


def _listed(value: object) -> Sequence[Any]:
    return value[:1000] if isinstance(value, list) else ()


def _words(tags: object) -> list[str]:
    words = tags if isinstance(tags, list) else text_of(tags).split(",")
    return [text_of(word)[:200] for word in words if text_of(word)][:MOST_OPTIONS]
