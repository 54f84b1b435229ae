"""Each published format of a catalogue becomes the same items, and what is wrong in it is named by its line."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.feeds.formats import FeedFormat, Taken, read_feed
from connect.feeds.paging import first_page, next_page
from connect.feeds.rows import Fault, FeedBroken, FeedItem, Reading
from contracts.items import UNLIMITED_STOCK

MERCHANT = b"""<?xml version="1.0" encoding="UTF-8"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0">
<channel>
<title>A shop</title>
<link>https://shop.example</link>
<item>
  <g:id>SKU-1</g:id>
  <title>Ignored</title>
  <g:title>Running shoe &amp; socks</g:title>
  <g:description>&lt;p&gt;Light&lt;/p&gt; and   fast</g:description>
  <link>https://shop.example/1</link>
  <g:image_link>https://shop.example/1.jpg</g:image_link>
  <g:availability>in stock</g:availability>
  <g:price>1.299,00 EUR</g:price>
  <g:sale_price>999,00 EUR</g:sale_price>
  <g:product_type>Shoes &gt; Running</g:product_type>
  <g:google_product_category>187</g:google_product_category>
  <g:brand>Fleet</g:brand>
  <g:item_group_id>SHOE</g:item_group_id>
  <g:size>42</g:size>
  <g:color>red</g:color>
  <g:shipping><g:country>DE</g:country><g:price>4.90 EUR</g:price></g:shipping>
</item>
<item><g:id>SKU-2</g:id><g:title>Gone</g:title><g:availability>out_of_stock</g:availability></item>
<item><g:title>No id</g:title></item>
<item><g:id>SKU-4</g:id><g:price>12 EUR</g:price></item>
<item><g:id>SKU-5</g:id><g:title>Odd</g:title><g:price>cheap</g:price><g:availability>maybe</g:availability></item>
</channel>
</rss>
"""
PLAIN = Reading()


def read(format: FeedFormat, raw: bytes, reading: Reading = PLAIN, step: int = 1 << 16) -> list[FeedItem | Fault]:
    return list(read_feed(format, (raw[at : at + step] for at in range(0, len(raw), step)), reading, Taken()))


def items(found: list[FeedItem | Fault]) -> dict[str, dict[str, object]]:
    return {one.item_id: {**one.document, "stock": one.stock} for one in found if isinstance(one, FeedItem)}


def faults(found: list[FeedItem | Fault]) -> list[Fault]:
    return [one for one in found if isinstance(one, Fault)]


def test_a_merchant_feed_becomes_items_with_their_sale_price_category_stock_and_attributes() -> None:
    found = read(FeedFormat.MERCHANT_XML, MERCHANT)
    assert items(found)["SKU-1"] == {
        "title": "Running shoe & socks",
        "description": "Light and fast",
        "brand": "Fleet",
        "category": "Shoes/Running",
        "link": "https://shop.example/1",
        "image_url": "https://shop.example/1.jpg",
        "price": 999.0,
        "attributes": {
            **{"currency": "EUR", "list_price": 1299.0, "item_group_id": "SHOE", "size": "42", "color": "red"},
        },
        "stock": UNLIMITED_STOCK,
    }
    assert items(found)["SKU-2"] == {"title": "Gone", "stock": 0}


def test_what_is_wrong_in_a_merchant_feed_is_named_by_its_line_and_item() -> None:
    said = [
        (one.line, one.item_id, one.left_out, one.reason.partition(":")[0])
        for one in faults(read(FeedFormat.MERCHANT_XML, MERCHANT))
    ]
    assert said == [
        (25, None, True, "expected an id in id, got none"),
        (26, "SKU-4", True, "title"),
        (27, "SKU-5", False, "price"),
        (27, "SKU-5", False, "availability"),
    ]


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_feed_reads_the_same_however_it_comes_in_pieces(step: int) -> None:
    assert read(FeedFormat.MERCHANT_XML, MERCHANT, step=step) == read(FeedFormat.MERCHANT_XML, MERCHANT)


def test_an_atom_feed_has_its_link_and_id_in_atoms_own_elements() -> None:
    atom = b"""<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><title>Shop</title>
    <entry><id>a1</id><title>Tea</title><link href="https://shop.example/a1"/><g:price>3.20 EUR</g:price></entry>
    </feed>"""
    assert items(read(FeedFormat.MERCHANT_XML, atom))["a1"] == {
        **{"title": "Tea", "link": "https://shop.example/a1", "price": 3.2, "attributes": {"currency": "EUR"}},
        "stock": None,
    }


def test_a_plain_rss_feed_has_its_guid_as_id_and_its_enclosure_as_picture() -> None:
    rss = b"""<rss version="2.0"><channel><item><guid>n-7</guid><title>News</title><category>Sport</category>
    <enclosure url="https://shop.example/7.jpg" type="image/jpeg" length="1"/></item></channel></rss>"""
    assert items(read(FeedFormat.RSS, rss))["n-7"] == {
        **{"title": "News", "category": "Sport", "image_url": "https://shop.example/7.jpg", "stock": None},
    }


def test_a_sale_price_holds_in_its_days_alone() -> None:
    row = (
        b"id,title,price,sale price,sale price effective date\n"
        b"1,a,10 EUR,8 EUR,2026-02-24T13:00-0800/2026-02-26T15:30-0800\n"
    )
    prices = [
        items(read(FeedFormat.CSV, row, Reading(now_s=now_s)))["1"]["price"]
        for now_s in (1771966799, 1771966801, 1772148601)
    ]
    assert prices == [10.0, 8.0, 10.0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_is_read_whichever_mark_stands_between_its_fields(delimiter: str) -> None:
    rows = [["ID", "Title", "Google Product Category", "Availability"], ["1", "Cup", "Home > Kitchen", "in_stock"]]
    found = read(FeedFormat.CSV, "\r\n".join(delimiter.join(row) for row in rows).encode())
    assert items(found) == {"1": {"title": "Cup", "category": "Home/Kitchen", "stock": UNLIMITED_STOCK}}


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        *(("utf-8", "utf-8 (2 lines)"), ("utf-8-sig", "utf-8-sig (2 lines)"), ("utf-16", "utf-16-le (2 lines)")),
        *(("latin-1", "latin-1 (1 lines), utf-8 (1 lines)"), ("cp1252", "utf-8 (1 lines), windows-1252 (1 lines)")),
    ],
)
def test_the_encoding_that_was_taken_is_said(encoding: str, said: str) -> None:
    title = "Müsli €" if encoding == "cp1252" else "Müsli"
    taken = Taken()
    chunks = [f"id,title\n1,{title}\n".encode(encoding)]
    [item] = read_feed(FeedFormat.CSV, chunks, Reading(), taken)
    assert isinstance(item, FeedItem)
    assert item.document["title"] == title
    assert sorted(str(taken.encodings).split(", ")) == said.split(", ")


def test_a_row_that_is_shifted_is_left_out_and_the_next_is_taken() -> None:
    found = read(FeedFormat.CSV, b'id,title,price\n1,a,b,3\n2,"a, b",3\n3,"two\nlines",4\n4,d,5\n')
    assert sorted(items(found)) == ["2", "3", "4"]
    assert [(one.line, one.item_id) for one in faults(found)] == [(2, None)]
    assert [one.line for one in found if isinstance(one, FeedItem)] == [3, 4, 6]


def test_a_price_that_can_be_read_in_two_ways_is_noted_unless_the_feed_says_its_mark() -> None:
    row = b"id,title,price\n1,a,1.299 EUR\n"
    [item, fault] = read(FeedFormat.CSV, row)
    assert isinstance(item, FeedItem)
    assert isinstance(fault, Fault)
    assert item.document["price"] == 1299.0
    assert "could be read otherwise" in fault.reason
    [item] = read(FeedFormat.CSV, row, Reading(decimal="."))
    assert isinstance(item, FeedItem)
    assert item.document["price"] == 1.299


def test_json_lines_are_our_own_documents() -> None:
    first = b'\xef\xbb\xbf{"item_id":"1","title":"a","price":"2,50","stock":3,"attributes":{"x":1}}'
    raw = first + b'\n\n[]\n{"id":7,"title":"b"}\n{'
    found = read(FeedFormat.JSONL, raw)
    assert items(found) == {
        "1": {"title": "a", "price": 2.5, "stock": 3, "attributes": {"x": 1}},
        "7": {"title": "b", "stock": None},
    }
    assert [one.line for one in faults(found)] == [3, 5]


SHOPIFY = {
    "products": [
        {
            "id": 632910392,
            "title": "Bag",
            "body_html": "<p>Good</p>",
            "vendor": "Fleet",
            "product_type": "Bags",
            "handle": "bag",
            "status": "active",
            "tags": "new, red",
            "variants": [
                {"sku": "B1", "price": "19.90", "compare_at_price": "25.00", "inventory_quantity": 3, "option1": "S"},
                {"sku": "B2", "price": "17.90", "compare_at_price": "25.00", "inventory_quantity": 4, "option1": "M"},
            ],
            "images": [{"src": "https://cdn.example/bag.jpg"}],
        },
        {"id": 2, "title": "Draft", "status": "draft", "variants": []},
        {"id": 3, "title": "Sold", "variants": [{"price": "5.00", "available": False}]},
        {"id": 4, "title": "", "variants": []},
        "odd",
    ]
}
BAG = {
    **{"title": "Bag", "description": "Good", "brand": "Fleet", "category": "Bags", "price": 17.9, "stock": 7},
    "image_url": "https://cdn.example/bag.jpg",
    "attributes": {"list_price": 25.0, "option1": ["S", "M"], "handle": "bag", "tags": ["new", "red"]},
}


@pytest.mark.parametrize("step", [1, 100_000])
def test_shopifys_products_have_the_lowest_price_and_the_stock_of_all_variants(step: int) -> None:
    raw = json.dumps(SHOPIFY, indent=1).encode()
    found = read(FeedFormat.SHOPIFY, raw, Reading(base="https://shop.example"), step)
    assert items(found) == {
        "632910392": {**BAG, "link": "https://shop.example/products/bag"},
        "3": {"title": "Sold", "price": 5.0, "stock": 0},
    }
    assert [one.item_id for one in faults(found)] == ["4", None]


def test_shopifys_export_says_the_same_by_handle() -> None:
    header = (
        "Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Value,Variant SKU,Variant Inventory Tracker,"
        "Variant Inventory Qty,Variant Inventory Policy,Variant Price,Variant Compare At Price,Image Src,Status"
    )
    rows = [
        'bag,Bag,<p>Good</p>,Fleet,Bags,"new, red",true,S,B1,shopify,3,deny,19.90,25.00,https://cdn.example/bag.jpg,active',
        "bag,,,,,,,M,B2,shopify,4,deny,17.90,25.00,,",
        "bag,,,,,,,,,,,,,,https://cdn.example/2.jpg,",
        "old,Old,,,,,false,,,,,,1.00,,,active",
    ]
    found = read(FeedFormat.SHOPIFY, "\n".join([header, *rows]).encode())
    assert items(found) == {"bag": BAG}


def test_woocommerces_products_are_read_from_its_api_and_from_its_export() -> None:
    product = {
        "id": 794,
        "name": "Premium Quality",
        "permalink": "https://shop.example/product/794",
        "status": "publish",
        "catalog_visibility": "visible",
        "description": "<p>Soft</p>",
        "sku": "PQ",
        "price": "18.00",
        "regular_price": "21.99",
        "stock_status": "instock",
        "manage_stock": True,
        "stock_quantity": 5,
        "categories": [{"id": 9, "name": "Clothing", "slug": "clothing"}],
        "images": [{"src": "https://shop.example/t.jpg"}],
        "attributes": [{"name": "Color", "options": ["Black", "Green"]}],
    }
    hidden = {**product, "id": 795, "catalog_visibility": "hidden"}
    of_api = items(read(FeedFormat.WOOCOMMERCE, json.dumps([product, hidden]).encode()))
    export = (
        "ID,Type,SKU,Name,Published,Visibility in catalog,Description,In stock?,Stock,Sale price,Regular price,"
        "Categories,Images,Attribute 1 name,Attribute 1 value(s)\n"
        "794,simple,PQ,Premium Quality,1,visible,<p>Soft</p>,1,5,18.00,21.99,Clothing,https://shop.example/t.jpg,"
        'Color,"Black, Green"\n'
        "800,variation,PQ-1,Premium Quality - Black,1,visible,,1,5,,,,,,\n"
    )
    of_export = items(read(FeedFormat.WOOCOMMERCE, export.encode()))
    same = {
        **{"title": "Premium Quality", "description": "Soft", "category": "Clothing", "price": 18.0, "stock": 5},
        "image_url": "https://shop.example/t.jpg",
        "attributes": {"list_price": 21.99, "sku": "PQ", "color": ["Black", "Green"]},
    }
    assert of_api == {"794": {**same, "link": "https://shop.example/product/794"}}
    assert of_export == {"794": same}


def test_another_field_may_hold_the_id() -> None:
    assert list(items(read(FeedFormat.SHOPIFY, json.dumps(SHOPIFY).encode(), Reading(id_field="sku")))) == ["B1"]
    assert list(items(read(FeedFormat.CSV, b"id,mpn,title\n1,M1,a\n", Reading(id_field="mpn")))) == ["M1"]


@pytest.mark.parametrize("format", ["shopify", "woocommerce"])
def test_half_a_character_or_a_number_that_is_none_spoils_no_item_but_its_own(format: str) -> None:
    half = r"cut \ud83d"
    raw = (
        '[{"id":1,"title":"%s","name":"%s","body_html":"%s","vendor":"%s","handle":"%s","tags":["%s",{"name":"%s"}],'
        '"attributes":[{"name":"%s","options":["%s"]}],"variants":[{"option1":"%s","price":"%s"}],"price":"%s"},'
        '{"id":"x %s","title":"b","name":"b"},{"id":NaN,"title":"c","name":"c"},{"id":1e999,"title":"d","name":"d"},'
        r'{"id":5,"title":"whole \ud83d\ude00","name":"whole \ud83d\ude00"}]'
    ) % ((half,) * 13)
    found = read(FeedFormat(format), raw.encode())
    items = {one.item_id: one.document for one in found if isinstance(one, FeedItem)}
    assert {name: one["title"] for name, one in items.items()} == {
        **{"1": "cut \ufffd", "x cut \ufffd": "b", "5": "whole \U0001f600"}
    }
    assert len([one for one in found if isinstance(one, Fault) and one.left_out]) == 2
    assert repr(found).encode()  # any text of it can be written


LAUGHS = (
    b'<!DOCTYPE rss [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><rss><channel><item><id>1</id><title>&b;</title>'
    b"</item></channel></rss>"
)


@pytest.mark.parametrize(
    ("format", "raw", "why"),
    [
        ("merchant-xml", LAUGHS, "document type"),
        ("merchant-xml", b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><rss></rss>', "document type"),
        ("merchant-xml", MERCHANT[:900], "whole XML"),
        ("merchant-xml", b"<html><body>down for maintenance</body></html>", "RSS or Atom"),
        ("merchant-xml", b"<rss>" + b"<a>" * 40, "nested at most 32"),
        ("merchant-xml", b"<rss><item><title>" + b"x" * 2_000_000, "1,048,576"),
        ("merchant-xml", b'<rss><item x="' + b"x" * 2_000_000, "1,048,576"),
        ("merchant-xml", b"<rss><item><t>" + b"<t/>" * 3, "whole XML"),
        ("merchant-xml", b"<rss><item>" + b"".join(b"<f%d>x</f%d>" % (n, n) for n in range(600)), "500 fields"),
        ("merchant-xml", b'<?xml version="1.0" encoding="klingon"?><rss/>', "XML"),
        ("csv", b"a,b\n1,2\n", "header"),
        ("csv", b"id,title\n" + b"x" * 2_000_000, "1,048,576"),
        ("csv", b'id,title\n1,"not closed\n' + b"2,b\n" * 500_000, "quote|field larger"),
        ("jsonl", b"x" * 2_000_000, "1,048,576"),
        ("shopify", b'{"products":[{"id":1', "JSON"),
        ("shopify", b'{"products":[{"id":1}', "cut off"),
        ("shopify", b'{"errors":"x"}', "no such name"),
        ("shopify", b'{"products":[' + b"[" * 100_000, "JSON"),
        ("shopify", b'{"products":[{"id":"' + b"x" * 2_000_000, "1,048,576"),
        ("shopify", b'[{"id":' + b"1" * 10_000 + b"}]", "JSON"),
        ("woocommerce", b"[1,", "JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_feed_that_is_cut_off_or_built_to_fill_memory_is_refused_whole(format: str, raw: bytes, why: str) -> None:
    with pytest.raises(FeedBroken, match=why):
        read(FeedFormat(format), raw)


@pytest.mark.parametrize("format", list(FeedFormat))
def test_nothing_is_found_in_an_empty_feed(format: FeedFormat) -> None:
    assert read(format, b"") == []


@given(raw=st.binary(max_size=400), format=st.sampled_from(list(FeedFormat)), cut=st.integers(0, 400))
def test_whatever_comes_is_items_and_faults_or_is_refused(raw: bytes, format: FeedFormat, cut: int) -> None:
    try:
        found = list(read_feed(format, [raw[:cut], raw[cut:]], Reading(), Taken()))
    except FeedBroken:
        return
    lines = [one.line for one in found]
    assert all(a <= b for a, b in pairwise(lines))


def test_pages_of_an_api_follow_each_other_and_stay_on_its_host() -> None:
    shop = "https://ck:cs@shop.example/wp-json/wc/v3/products"
    first = first_page(FeedFormat.WOOCOMMERCE, shop)
    assert first == f"{shop}?per_page=100"
    link = "https://shop.example/wp-json/wc/v3/products?per_page=100&page=2"
    assert next_page(FeedFormat.WOOCOMMERCE, first, link, 100) == f"{shop}?per_page=100&page=2"
    assert next_page(FeedFormat.WOOCOMMERCE, first, None, 100) is None
    with pytest.raises(FeedBroken, match=r"evil\.example"):
        next_page(FeedFormat.WOOCOMMERCE, first, "https://evil.example/products", 100)
    storefront = first_page(FeedFormat.SHOPIFY, "https://shop.example/products.json")
    assert storefront == "https://shop.example/products.json?limit=250"
    assert next_page(FeedFormat.SHOPIFY, storefront, None, 250) == f"{storefront}&page=2"
    assert next_page(FeedFormat.SHOPIFY, f"{storefront}&page=2", None, 0) is None
    assert first_page(FeedFormat.CSV, "https://shop.example/feed.csv") == "https://shop.example/feed.csv"
