"""Who may write the catalogue, under which ids, and what is said of items that are not there."""

from __future__ import annotations

from urllib.parse import quote

import orjson
import pytest
from yarl import URL

from tests.gateway.conftest import Client, Start, event, problem, put_items
from tests.gateway.streams import Streams
from tests.gateway.test_items import NDJSON, SHOE

JSON = {"Content-Type": "application/json"}
BODY = orjson.dumps(SHOE)
WRITES = [
    ("PUT", "/api/items/shoe-1", BODY, JSON),
    ("DELETE", "/api/items/shoe-1", None, {}),
    ("POST", "/api/items", b'{"item_id":"shoe-1","title":"s"}', NDJSON),
    ("POST", "/api/stock", b'[{"item_id":"shoe-1","stock":0}]', JSON),
]

IDS = [
    *("{x}", "{", "}", "a/b", "/", "//", "a%2Fb", "%", "%25", "%7B", "a b", " ", "a+b", "a?b#c", "a&b=c", "a,b", ","),
    *(".", "..", "../x", "a;b", 'a"b', "a'b", "<b>", "a\\b", "a\nb", "a\tb", "\u00e9", "\u65e5\u672c", "\U0001f45f"),
    *(
        "e\u0301",
        "\u00a0",
        "~",
        "*",
        "[x]",
        "x" * 256,
        "\U0001f45f" * 256,
        "stock",
        "None",
        "0",
        "a:b",
        "@",
        "$",
        "\x7f",
    ),
]


@pytest.mark.parametrize("item_id", IDS)
async def test_an_id_that_one_door_takes_all_doors_take(client: Client, streams: Streams, item_id: str) -> None:
    path = URL("/api/items/" + quote(item_id, safe="").replace(".", "%2E"), encoded=True)
    line = orjson.dumps({"item_id": item_id, "title": "loaded"})
    loaded = await client.post("/api/items", data=line, headers=NDJSON)
    assert (await loaded.json()) == {"accepted": 1, "rejected": [], "visible": True}
    assert (await (await client.get(path)).json())["title"] == "loaded"
    put = await client.put(path, json={"title": "put", "item_id": item_id})
    assert (put.status, await put.json()) == (202, {"accepted": 1, "rejected": [], "visible": True})
    stock = await client.post("/api/stock", json=[{"item_id": item_id, "stock": 3}])
    assert await stock.json() == {"accepted": 1, "rejected": [], "visible": True}
    listed = await (await client.get("/api/items", params=[("id", item_id), ("id", "nothing")])).json()
    assert listed == {"items": [{"item_id": item_id, "title": "put", "category": "", "stock": 3}]}
    clicked = await client.post("/api/events", json=event("e-1", item_id=item_id))
    assert (await clicked.json())["accepted"] == 1
    shown = await client.post(
        "/api/recommendations/search", json={"session_id": "s", "item_id": item_id, "candidates": [item_id]}
    )
    assert shown.status == 200
    assert (await (await client.delete(path)).json())["accepted"] == 1
    assert (await client.get(path)).status == 404


async def test_an_id_that_is_no_text_is_422(client: Client) -> None:
    for method in ("GET", "PUT", "DELETE"):
        body = {"data": BODY, "headers": JSON} if method == "PUT" else {}
        response = await client.request(method, URL("/api/items/a%FF", encoded=True), **body)  # type: ignore[arg-type]
        assert "UTF-8" in (await problem(response, 422))["detail"]


async def test_stock_of_items_that_are_not_there_is_refused_by_name(client: Client, streams: Streams) -> None:
    await put_items(client, {"item_id": "shoe-1", **SHOE}, {"item_id": "gone", **SHOE})
    await client.delete("/api/items/gone")
    asked = [("no-1", 1), ("shoe-1", 2), ("gone", 3), ("shoe-1", -1), ("no'2", 4)]
    response = await client.post("/api/stock", json=[{"item_id": name, "stock": stock} for name, stock in asked])
    answer = await response.json()
    assert (response.status, answer["accepted"], answer["visible"]) == (202, 1, True)
    assert [(one["index"], one["reason"]) for one in answer["rejected"]] == [
        (0, "unknown_item: 'no-1' is not in the catalogue: put the item first"),
        (2, "unknown_item: 'gone' is not in the catalogue: put the item first"),
        (3, "invalid: /stock: Input should be greater than or equal to 0"),
        (4, 'unknown_item: "no\'2" is not in the catalogue: put the item first'),
    ]
    assert (await (await client.get("/api/items/shoe-1")).json())["stock"] == 2


async def test_stock_right_after_a_put_that_is_not_applied_yet_is_taken(start: Start) -> None:
    client = await start(visible_wait_ms=50)
    await client.put("/api/items/shoe-1", json=SHOE)
    response = await client.post("/api/stock", json=[{"item_id": "shoe-1", "stock": 0}])
    assert await response.json() == {"accepted": 1, "rejected": [], "visible": False}


@pytest.mark.parametrize(("method", "path", "body", "headers"), WRITES)
async def test_a_page_of_another_origin_may_not_change_the_catalogue(
    start: Start, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> None:
    client = await start(cors_origins=("https://shop.example", "*"), visible_wait_ms=0)
    for said in (
        {"Origin": "https://evil.example"},
        {"Origin": "https://shop.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": f"http://{client.host}:{client.port}"},
        {"Origin": f"http://{client.host}:{(client.port or 0) + 1}"},
        {"Origin": f"ftp://{client.host}:{client.port}"},
    ):
        response = await client.request(method, path, data=body, headers={**headers, **said})
        assert "change the catalogue only where" in (await problem(response, 403))["detail"]


@pytest.mark.parametrize(("method", "path", "body", "headers"), WRITES)
async def test_own_pages_named_origins_and_what_is_no_browser_may(
    start: Start, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> None:
    client = await start(catalogue_origins=("https://admin.example",), visible_wait_ms=0)
    for said in (
        {},
        {"Origin": f"http://{client.host}:{client.port}"},
        {"Origin": f"https://{client.host}:{client.port}"},
        {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://admin.example", "Sec-Fetch-Site": "cross-site"},
    ):
        response = await client.request(method, path, data=body, headers={**headers, **said})
        assert response.status == 202, await response.text()


@pytest.mark.parametrize(("method", "path", "body", "headers"), [one for one in WRITES if one[2]])
async def test_a_catalogue_write_names_its_content_type(
    client: Client, method: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    response = await client.request(method, path, data=body, skip_auto_headers=["Content-Type"])
    document = await problem(response, 415)
    assert document["detail"].endswith("got none")
    plain = await client.request(method, path, data=body, headers={"Content-Type": "text/plain"})
    await problem(plain, 415)


async def test_what_visitors_send_needs_no_content_type_and_may_come_from_pages_that_are_named(start: Start) -> None:
    client = await start(cors_origins=("https://elsewhere.example",))
    headers = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    sent = {"data": orjson.dumps(event("e-1")), "skip_auto_headers": ["Content-Type"]}
    response = await client.post("/api/events", headers=headers, **sent)  # type: ignore[arg-type]
    assert (response.status, (await response.json())["accepted"]) == (202, 1)
