"""Calls from pages of other origins."""

from __future__ import annotations

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
    assert preflight.status == 405
    assert "Access-Control-Allow-Origin" not in preflight.headers
    answer = await client.post("/api/events", json=event("e-1"), headers={"Origin": "https://elsewhere.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_answers_and_problems_may_be_read_by_an_allowed_origin(start: Start) -> None:
    client = await start(cors_origins=("*",))
    taken = await client.post("/api/events", json=event("e-1"), headers={"Origin": "https://a.example"})
    broken = await client.post("/api/events", data=b"{", headers={"Origin": "https://b.example"})
    assert (taken.status, taken.headers["Access-Control-Allow-Origin"]) == (202, "https://a.example")
    await problem(broken, 415)
    assert broken.headers["Access-Control-Allow-Origin"] == "https://b.example"


async def test_without_the_setting_there_is_no_cors(start: Start) -> None:
    client = await start()
    response = await client.options("/api/events", headers=ASKS)
    await problem(response, 405)
    assert not any(name.startswith("Access-Control") for name in response.headers)
