"""The fields of Google's Merchant product specification, as an item. Feeds of all comparison sites speak it.

https://support.google.com/merchants/answer/7052112
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from connect.feeds.rows import MOST_TEXT, Fault, Found, Reading, Row, stock_of

AVAILABLE: Final = {
    **dict.fromkeys(
        ("in_stock", "preorder", "backorder", "available", "limited_availability", "yes", "true", "1"), True
    ),
    **dict.fromkeys(("out_of_stock", "discontinued", "sold_out", "unavailable", "no", "false", "0"), False),
}
KEPT: Final = (
    "item_group_id",
    "size",
    "color",
    "material",
    "pattern",
    "gender",
    "age_group",
    "condition",
    "gtin",
    "mpn",
)
"""Fields that become attributes under their own name."""
LABELS: Final = tuple(f"custom_label_{n}" for n in range(5))
FIELDS: Final = frozenset(
    {
        *("id", "title", "description", "link", "image_link", "price", "sale_price", "sale_price_effective_date"),
        *(
            "availability",
            "product_type",
            "google_product_category",
            "brand",
            "quantity",
            "adult",
            "cost_of_goods_sold",
        ),
        *KEPT,
        *LABELS,
    }
)
_SAME: Final = {
    "name": "title",
    "item_id": "id",
    "guid": "id",
    "summary": "description",
    "category": "product_type",
    "image": "image_link",
    "image_url": "image_link",
    "url": "link",
    "stock": "quantity",
    "inventory": "quantity",
    "sell_on_google_quantity": "quantity",
    "colour": "color",
    "manufacturer": "brand",
}
"""Names that are not of the specification and mean the same, taken where its own is missing."""
_LONGEST: Final = 2000


def named(name: str) -> str:
    """Return a field's name as the specification writes it: `Google Product Category` is `google_product_category`."""
    return "_".join(name.removeprefix("\ufeff").strip().lower().removeprefix("g:").replace("-", " ").split())


def known(name: str) -> bool:
    """Return whether a name is one of the fields that are read."""
    return name in FIELDS or name in _SAME


def item_of_fields(line: int, given: Mapping[str, str], reading: Reading) -> Iterator[Found]:
    """Yield an item from fields by name (`named`), with what was wrong in them."""
    fields = dict(given)
    for other, name in _SAME.items():
        if name not in fields and other in fields:
            fields[name] = fields[other]
    item_id = fields.get(named(reading.id_field) if reading.id_field else "id", "").strip()
    if not item_id:
        yield Fault(line, f"expected an id in {reading.id_field or 'id'}, got none: the fields are {_names(given)}")
        return
    row = Row(line, item_id)
    row.put("title", fields.get("title", "").strip())
    row.describe(fields.get("description", ""))
    row.put("brand", fields.get("brand", "").strip()[:200])
    row.categorise(_category(fields))
    row.put("link", fields.get("link", "").strip()[:_LONGEST])
    _picture(row, fields.get("image_link", "").strip())
    _prices(row, fields, reading)
    _availability(row, fields)
    for name in (*KEPT, *LABELS):
        row.attribute(name, fields.get(name, "").strip()[:MOST_TEXT])
    if fields.get("adult", "").strip().lower() in ("yes", "true"):
        row.document["min_age"] = 18
    yield from row.finished()


def _category(fields: Mapping[str, str]) -> list[str]:
    """Return the shop's own category; Google's where there is none, unless that is only a number."""
    own = fields.get("product_type", "").strip()
    googles = fields.get("google_product_category", "").strip()
    return (own or ("" if googles.isdigit() else googles)).split(">")


def _picture(row: Row, address: str) -> None:
    if len(address) > _LONGEST:
        row.noted.append(f"image_link: expected at most {_LONGEST} characters, got {len(address):,}: left out")
        return
    row.put("image_url", address)


def _prices(row: Row, fields: Mapping[str, str], reading: Reading) -> None:
    full = row.price("price", fields.get("price"), reading)
    sale = row.price("sale_price", fields.get("sale_price"), reading)
    if sale is not None and _on_sale(row, fields.get("sale_price_effective_date", ""), reading.now_s):
        row.put("price", sale)
        row.attribute("list_price", full)
    elif full is not None:
        row.document["price"] = full
    paid = row.price("cost_of_goods_sold", fields.get("cost_of_goods_sold"), reading)
    price = row.document.get("price")
    if paid is not None and price:
        row.document["margin"] = round(1 - paid / price, 4)


def _on_sale(row: Row, span: str, now_s: float) -> bool:
    """Return whether a span such as `2026-02-24T13:00-0800/2026-02-29T15:30-0800` holds now; a span that cannot be read
    is noted, and holds.
    """
    if not span.strip():
        return True
    try:
        begin, end = (datetime.fromisoformat(one.strip()).astimezone().timestamp() for one in span.split("/"))
    except (ValueError, OverflowError):
        row.noted.append(f"sale_price_effective_date: expected BEGIN/END in ISO 8601, got {span[:60]!r}: taken as now")
        return True
    row.dated = True
    return begin <= now_s < end


def _availability(row: Row, fields: Mapping[str, str]) -> None:
    said = named(fields.get("availability", ""))
    available = AVAILABLE.get(said)
    if said and available is None:
        row.noted.append(f"availability: expected in_stock, out_of_stock, preorder or backorder, got {said[:40]!r}")
    row.stock = stock_of(fields.get("quantity"), available)
    if said in ("preorder", "backorder"):
        row.attribute("availability", said)


def _names(given: Mapping[str, str]) -> str:
    return ", ".join(list(given)[:12]) or "none"
