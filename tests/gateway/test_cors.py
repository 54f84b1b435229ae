"""Calls from pages of other origins."""

from __future__ import annotations

import orjson
import pytest

from tests.gateway.conftest import Start, event, problem

ASKS = {
    "Origin": "https://shop.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type",
}


async def test_a_preflight_of_an_allowed_origin_is_answered(start: Start) -> None:
    client = await start(cors_origins=("https://shop.example",))
    response = await client.options("/api/events", headers=ASKS)
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert response.headers["Access-Control-Allow-Methods"] == "GET, POST, PUT, PATCH, DELETE"
    assert response.headers["Access-Control-Allow-Headers"] == "content-type"
    assert response.headers["Access-Control-Max-Age"] == "600"
    assert response.headers["Vary"] == "Origin"


async def test_another_origin_is_not_allowed(start: Start) -> None:
    client = await start(cors_origins=("https://shop.example",))
    headers = {**ASKS, "Origin": "https://elsewhere.example"}
    preflight = await client.options("/api/events", headers=headers)
    await problem(preflight, 403)
    assert "Access-Control-Allow-Methods" not in preflight.headers
    answer = await client.get("/api/items", headers={"Origin": "https://elsewhere.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origins", [(), ("https://shop.example",)])
async def test_a_page_of_another_origin_is_refused_and_may_read_why(start: Start, origins: tuple[str, ...]) -> None:
    client = await start(cors_origins=origins)
    elsewhere = {"Origin": "https://elsewhere.example", "Content-Type": "text/plain"}
    for path, body in (("/api/events", event("e-1")), ("/api/recommendations/homepage", {"session_id": "s"})):
        refused = await client.post(path, data=orjson.dumps(body), headers=elsewhere)
        said = await problem(refused, 403)
        assert said["detail"] == (
            "expected a page of an origin that may call this gateway, got 'https://elsewhere.example': name it in "
            "gateway.cors_origins, or ask for keys (gateway.keys) and make one for its pages "
            "(`nextclick keys create --public --origin`)"
        )
        assert refused.headers["Access-Control-Allow-Origin"] == "https://elsewhere.example"
    metrics = await (await client.get("/metrics")).text()
    assert 'events_total{outcome="accepted"}' not in metrics or 'outcome="accepted"} 0' in metrics


async def test_pages_of_the_gateway_itself_and_of_a_proxy_before_it_are_no_other_origin(start: Start) -> None:
    client = await start()
    own = f"http://{client.host}:{client.port}"
    behind_a_proxy = {"Origin": "https://shop.example", "Sec-Fetch-Site": "same-origin"}
    for headers in ({}, {"Origin": own}, behind_a_proxy, {"Origin": own, "Sec-Fetch-Site": "same-origin"}):
        answer = await client.post("/api/events", json=event("e-1"), headers=headers)
        assert answer.status == 202, headers


async def test_pages_of_one_origin_have_a_rate_together_and_others_are_not_held_up(start: Start) -> None:
    client = await start(cors_origins=("*",), origin_rate=0.01, origin_burst=2)
    statuses = {}
    for origin in ("https://a.example", "https://b.example", ""):
        headers = {"Origin": origin} if origin else {}
        posts = [await client.post("/api/events", json=event(f"e{n}"), headers=headers) for n in range(3)]
        statuses[origin] = [post.status for post in posts]
    assert statuses == {"https://a.example": [202, 202, 429], "https://b.example": [202, 202, 429], "": [202] * 3}
    refused = await client.post("/api/events", json=event("e"), headers={"Origin": "https://a.example"})
    said = await problem(refused, 429)
    assert said["detail"] == "expected at most 0.01 requests a second of one origin, 2 at once: ask less often"
    assert refused.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert refused.headers["Retry-After"] == "100"


async def test_answers_and_problems_may_be_read_by_an_allowed_origin(start: Start) -> None:
    client = await start(cors_origins=("*",))
    taken = await client.post("/api/events", json=event("e-1"), headers={"Origin": "https://a.example"})
    broken = await client.post("/api/events", data=b"{", headers={"Origin": "https://b.example"})
    assert (taken.status, taken.headers["Access-Control-Allow-Origin"]) == (202, "https://a.example")
    await problem(broken, 415)
    assert broken.headers["Access-Control-Allow-Origin"] == "https://b.example"


async def test_without_the_setting_there_is_no_cors(start: Start) -> None:
    client = await start()
    response = await client.options("/api/items", headers=ASKS)
    await problem(response, 405)
    assert not any(name.startswith("Access-Control") for name in response.headers)
    response = await client.options("/api/events", headers=ASKS)
    await problem(response, 403)
    assert "Access-Control-Allow-Methods" not in response.headers
