"""The API document says what the gateway does: every answer here is held to it."""

from __future__ import annotations

import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest
from aiohttp import ClientResponse

from gateway.access import ACCESS
from gateway.app import routes
from gateway.openapi import as_3_0
from gateway.openapi import document as build
from tests.gateway.conftest import Client, Start, event
from tests.gateway.streams import Streams

DOCUMENT = build()
COLLECT = "/api/collect/{vendor}"
VIEWED = {"event": "Product Viewed", "anonymousId": "s-1", "properties": {"product_id": "a", "price": "1.299"}}
NDJSON = {"Content-Type": "application/x-ndjson"}
SHOE = {"title": "Shoe", "price": 9.5}
KEYED = {"context": {"targetingKey": "s-1"}}


def json_schema(schema: Any) -> Any:
    """Say `nullable` and exclusive bounds in JSON Schema's words, and refuse fields that the document does not name."""
    if isinstance(schema, list):
        return [json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    rewritten = {name: json_schema(value) for name, value in schema.items() if name != "nullable"}
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if rewritten.get(exclusive) is True:
            rewritten[exclusive] = rewritten.pop(bound)
    if "properties" in rewritten and isinstance(rewritten["properties"], dict):
        rewritten.setdefault("additionalProperties", False)
    return {"anyOf": [rewritten, {"type": "null"}]} if schema.get("nullable") is True else rewritten


VALIDATED = {**json_schema({"components": DOCUMENT["components"]})}


def expect_conforming(path: str, response: ClientResponse, body: Any) -> None:
    operation = DOCUMENT["paths"][path][response.method.lower()]
    described = operation["responses"][str(response.status)]
    content = described["content"][response.content_type]
    validator = jsonschema.Draft202012Validator({**VALIDATED, **json_schema(content["schema"])})
    assert [error.message for error in validator.iter_errors(body)] == []


@pytest.mark.parametrize(
    ("status", "method", "path", "url", "sent"),
    [
        (202, "POST", "/api/events", "", {"json": [event("e-1"), {"v": 9}]}),
        (400, "POST", "/api/events", "", {"data": b"{", "headers": {"Content-Type": "text/plain"}}),
        (413, "POST", "/api/events", "", {"json": event("e-1", note="x" * 70_000)}),
        (415, "POST", "/api/events", "", {"data": b"<a/>", "headers": {"Content-Type": "text/xml"}}),
        (422, "POST", "/api/events", "", {"json": [event(f"e-{n}") for n in range(51)]}),
        (
            202,
            "POST",
            COLLECT,
            "/api/collect/segment",
            {"json": {"batch": [VIEWED, {"event": "Own"}, {"type": "page"}]}},
        ),
        (202, "POST", COLLECT, "/api/collect/matomo", {"data": {"url": "https://shop.example/", "idsite": "1"}}),
        (400, "POST", COLLECT, "/api/collect/ga4", {"data": b"{", "headers": {"Content-Type": "text/plain"}}),
        (404, "POST", COLLECT, "/api/collect/other", {"json": {}}),
        (415, "POST", COLLECT, "/api/collect/ga4", {"data": b"<a/>", "headers": {"Content-Type": "text/xml"}}),
        (422, "POST", COLLECT, "/api/collect/segment", {"json": {"batch": [VIEWED] * 51}}),
        *(
            (200, "POST", "/api/recommendations/{scenario}", f"/api/recommendations/{placement}", {"json": question})
            for placement in ("homepage", "product", "cart", "search", "email", "push")
            for question in ({"session_id": "s-1"}, {"session_id": "s-1", "after": "p0:5", "explain": True})
        ),
        (400, "POST", "/api/recommendations/{scenario}", "/api/recommendations/cart", {"json": 1}),
        (404, "POST", "/api/recommendations/{scenario}", "/api/recommendations/x", {"json": {"session_id": "s"}}),
        (413, "POST", "/api/recommendations/{scenario}", "/api/recommendations/cart", {"data": b" " * 70_000}),
        (415, "POST", "/api/recommendations/{scenario}", "/api/recommendations/cart", {"data": {"a": "b"}}),
        (422, "POST", "/api/recommendations/{scenario}", "/api/recommendations/cart", {"json": {"session_id": ""}}),
        (202, "PUT", "/api/items/{item_id}", "/api/items/a", {"json": SHOE}),
        (422, "PUT", "/api/items/{item_id}", "/api/items/a", {"json": {}}),
        (202, "DELETE", "/api/items/{item_id}", "/api/items/a", {}),
        (200, "GET", "/api/items/{item_id}", "/api/items/shoe-1", {}),
        (404, "GET", "/api/items/{item_id}", "/api/items/nothing", {}),
        (200, "GET", "/api/items/{item_id}/insight", "/api/items/shoe-1/insight", {}),
        (404, "GET", "/api/items/{item_id}/insight", "/api/items/nothing/insight", {}),
        (200, "GET", "/api/sessions", "", {}),
        (404, "GET", "/api/sessions/{session_id}", "/api/sessions/nobody", {}),
        (200, "GET", "/api/items", "", {}),
        (422, "GET", "/api/items", "/api/items?limit=many", {}),
        (202, "POST", "/api/items", "", {"data": orjson.dumps({"item_id": "a", **SHOE}) + b"\n1", "headers": NDJSON}),
        (422, "POST", "/api/items", "", {"data": b"1\n" * 1500, "headers": NDJSON}),
        (202, "POST", "/api/stock", "", {"json": [{"item_id": "shoe-1", "stock": 4}, 7]}),
        (400, "POST", "/api/stock", "", {"json": {}}),
        (200, "GET", "/api/dead-letters", "", {}),
        (403, "GET", "/api/dead-letters", "", {"headers": {"X-Forwarded-For": "10.0.0.7"}}),
        (422, "GET", "/api/dead-letters", "/api/dead-letters?limit=0", {}),
        (200, "GET", "/api/kpi", "", {}),
        (422, "GET", "/api/kpi", "/api/kpi?by=colour", {}),
        (200, "GET", "/api/quality", "", {}),
        (422, "GET", "/api/quality", "/api/quality?of=all", {}),
        (200, "GET", "/api/live", "", {}),
        (422, "GET", "/api/live", "/api/live?since_ms=-1", {}),
        (200, "GET", "/api/system", "", {}),
        (404, "GET", "/api/models", "", {}),
        (422, "POST", "/api/models/rollback", "", {"json": {}}),
        (200, "POST", "/ofrep/v1/evaluate/flags", "", {"json": KEYED}),
        (400, "POST", "/ofrep/v1/evaluate/flags", "", {"json": {"context": {}}}),
        (404, "POST", "/ofrep/v1/evaluate/flags/{key}", "/ofrep/v1/evaluate/flags/x", {"json": KEYED}),
        (200, "GET", "/healthz", "", {}),
        (200, "GET", "/readyz", "", {}),
        (200, "GET", "/openapi.json", "", {}),
    ],
)
async def test_answers_are_what_the_document_says(
    start: Start, streams: Streams, status: int, method: str, path: str, url: str, sent: dict[str, Any]
) -> None:
    client = await start(deadline_ms=150, max_body_bytes=65_536, max_events=50)
    put = await client.put("/api/items/shoe-1", json={**SHOE, "brand": "Fell", "stock": 3})
    assert (await put.json())["visible"] is True
    if status == 413 and "data" in sent:
        sent = {**sent, "headers": {"Content-Type": "application/json"}}
    response = await client.request(method, url or path, **sent)
    assert response.status == status, await response.text()
    expect_conforming(path, response, orjson.loads(await response.read()))


async def test_a_gateway_that_is_still_loading_says_so_as_documented(start: Start) -> None:
    client = await start()
    app = client.app
    assert app is not None
    from gateway.tables import REPLICAS

    app[REPLICAS]["catalogue"].loaded = False
    ready = await client.get("/readyz")
    answer = await client.post("/api/recommendations/cart", json={"session_id": "s-1"})
    assert (ready.status, ready.headers["Retry-After"], answer.status) == (503, "1", 503)
    expect_conforming("/readyz", ready, orjson.loads(await ready.read()))
    expect_conforming("/api/recommendations/{scenario}", answer, orjson.loads(await answer.read()))


def test_every_route_is_in_the_document_and_the_other_way_round() -> None:
    paths = ("/docs/{name}", "/console/{name}", "/console/{name}/{one}", "/nextclick-{hash}.js")
    hidden = {("GET", path) for path in paths}
    served = {(route.method, re.sub(r":[^}]+", "", route.path)) for route in routes(demo=False)} - hidden
    described = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert served == described


def test_examples_are_valid() -> None:
    checked = 0
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            bodies = [operation.get("requestBody", {}).get("content", {})]
            bodies += [answer.get("content", {}) for answer in operation["responses"].values()]
            for content in (one for body in bodies for one in body.values()):
                examples = [content["example"]] if "example" in content else []
                examples += [one["value"] for one in content.get("examples", {}).values()]
                for example in examples:
                    jsonschema.Draft202012Validator(
                        {**json_schema_lenient(DOCUMENT["components"]), **json_schema_lenient(content["schema"])}
                    ).validate(example)
                    checked += 1
    assert checked >= 14


def json_schema_lenient(schema: Any) -> Any:
    if "schemas" in schema:
        return {"components": {"schemas": {n: json_schema_lenient(s) for n, s in schema["schemas"].items()}}}
    return json_schema({**schema, "additionalProperties": schema.get("additionalProperties", True)})


def test_every_reference_leads_somewhere() -> None:
    text = orjson.dumps(DOCUMENT).decode()
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(DOCUMENT["components"]["schemas"])
    assert "$defs" not in text


@pytest.mark.parametrize(
    ("schema", "rewritten"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}, {"type": "string", "nullable": True}),
        ({"const": "put", "title": "Op"}, {"title": "Op", "enum": ["put"]}),
        ({"$ref": "#/a", "description": "b"}, {"description": "b", "allOf": [{"$ref": "#/a"}]}),
        ({"anyOf": [{"$ref": "#/a"}, {"type": "null"}]}, {"allOf": [{"$ref": "#/a"}], "nullable": True}),
        ({"exclusiveMinimum": 0, "maximum": 9}, {"exclusiveMinimum": True, "minimum": 0, "maximum": 9}),
        ({"type": "array", "items": {"const": 1}}, {"type": "array", "items": {"enum": [1]}}),
    ],
)
def test_json_schema_is_rewritten_in_the_words_of_openapi_3_0(schema: object, rewritten: object) -> None:
    assert as_3_0(schema) == rewritten


async def test_the_page_and_all_that_it_loads_come_from_here(client: Client) -> None:
    page = await client.get("/docs")
    text = await page.text()
    assert (page.status, page.content_type) == (200, "text/html")
    assert "://" not in text
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"):
        assert f"/docs/{name}" in text
        assert (await client.get(f"/docs/{name}")).status == 200
    assert (await client.get("/docs/index.html")).status == 404


@pytest.mark.parametrize("asks_keys", [False, True])
def test_every_operation_says_which_key_it_asks_for(asks_keys: bool) -> None:
    document = build(asks_keys=asks_keys)
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["components"]["securitySchemes"]["publicKey"]["name"] == "key"
    for path, item in document["paths"].items():
        for method, operation in item.items():
            access = ACCESS[f"{method.upper()} {path}"]
            if access.scope is None:
                assert (operation["security"], "401" in operation["responses"]) == ([], False)
                continue
            ways = [{"key": []}, {"publicKey": []}] if access.scope in ("events", "recommend") else [{"key": []}]
            optional = not asks_keys or path == "/metrics"
            assert operation["security"] == [*ways, *([{}] if optional else [])]
            assert f"a key of scope `{access.scope}`" in operation["description"]
            assert {"401", "403", "503"} <= set(operation["responses"])


async def test_refusals_at_the_door_are_what_the_document_says(start: Start) -> None:
    client = await start(keys="required")
    for method, path, url in (
        ("POST", "/api/events", ""),
        ("POST", "/api/recommendations/{scenario}", "/api/recommendations/cart"),
        ("GET", "/api/items", ""),
        ("POST", "/api/stock", ""),
        ("GET", "/api/dead-letters", ""),
        ("GET", "/api/kpi", ""),
        ("GET", "/api/quality", ""),
    ):
        response = await client.request(method, url or path)
        assert response.status == 401
        expect_conforming(path, response, orjson.loads(await response.read()))
    assert (await (await client.get("/openapi.json")).json())["paths"]["/api/stock"]["post"]["security"] == [
        {"key": []}
    ]
    local = await start()
    for method, path in (("GET", "/api/items"), ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/openapi.json")):
        response = await local.request(method, path, headers={"Host": "evil.example"})
        assert response.status == 403
        expect_conforming(path, response, orjson.loads(await response.read()))


def test_no_word_of_a_later_json_schema_is_left() -> None:
    left = set()

    def look(schema: Any) -> None:
        for one in schema if isinstance(schema, list) else ():
            look(one)
        for name, value in schema.items() if isinstance(schema, dict) else ():
            if name in ("const", "prefixItems", "$defs") or (name == "type" and isinstance(value, list)):
                left.add(name)
            if name.startswith("exclusive") and not isinstance(value, bool):
                left.add(name)
            if name not in ("example", "default"):
                look(value)

    look(DOCUMENT["components"]["schemas"])
    assert left == set()
