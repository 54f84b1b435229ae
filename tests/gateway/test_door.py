"""Who gets in: every endpoint with every kind of key, hosts, pages, and what is said to those who do not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web

from contracts.api_keys import Scope, new_key
from contracts.settings import RedisSettings
from gateway.access import ACCESS
from gateway.app import routes
from gateway.door import Door
from gateway.key_table import KeyTable
from gateway.settings import GatewayOptions, GatewaySettings
from gateway.tag import tag
from state.client import connect
from state.embedded import EmbeddedRedis
from tests.gateway.api_keys import PAGE, bearer, known, make_key, revoke_key, rotate_key, unknown
from tests.gateway.conftest import Start, event, problem
from tests.gateway.test_items import NDJSON, SHOE

ROUTES = sorted((route.method, re.sub(r":[^}]+", "", route.path)) for route in routes(demo=True))
EXPERIMENT = {"scenario": "homepage", "variants": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5}]}
FILLED = {"{item_id}": "shoe-1", "{scenario}": "homepage", "{experiment}": "x", "{key}": "x", "{user_id}": "anna"}
FILLED |= {"{session_id}": "s-1", "{erasure_id}": "0123456789abcdef", "{vendor}": "segment", "{hash}": tag().hash}
FILLED |= {"{version}": "20261129T045300-1f3a9c2e"}
BODIES: dict[str, dict[str, Any]] = {
    "POST /api/collect/{vendor}": {"json": {"type": "page", "anonymousId": "s-1"}},
    "POST /api/recommendations/{scenario}": {"json": {"session_id": "s-1"}},
    "POST /api/items": {"data": b'{"item_id":"shoe-1","title":"s"}', "headers": NDJSON},
    "PUT /api/items/{item_id}": {"json": SHOE},
    "PATCH /api/items/{item_id}": {"json": {"price": 1}},
    "POST /api/stock": {"json": []},
    "POST /api/pages": {"json": {"session_id": "s-1", "lists": [{"scenario": "homepage"}]}},
    "POST /api/campaigns/check": {
        "json": {"campaign": "x", "rows": [{"user_id": "anna", "at_ms": 1, "items": [{"item_id": "shoe-1"}]}]}
    },
    "POST /ofrep/v1/evaluate/flags": {"json": {"context": {"targetingKey": "s-1"}}},
    "POST /ofrep/v1/evaluate/flags/{key}": {"json": {"context": {"targetingKey": "s-1"}}},
    "PUT /api/scenarios/{scenario}": {"json": {}},
    "POST /api/models/{version}/publish": {"json": {"why": "better"}},
    "POST /api/models/rollback": {"json": {"why": "worse"}},
    "POST /api/models/pin": {"json": {"name": None, "why": "done"}},
    "PUT /api/users/{user_id}": {"json": {}},
    "PATCH /api/users/{user_id}": {"json": {"age": 3}},
    "PUT /api/users/{user_id}/consent": {"json": {"personalisation": True}},
    "POST /api/users/{user_id}/do-not-show": {"json": {"item_id": "shoe-1"}},
    "DELETE /api/users/{user_id}/do-not-show": {"json": {"item_id": "shoe-1"}},
    "PUT /api/experiments/{experiment}": {"json": EXPERIMENT},
    "POST /api/experiments/{experiment}/rollback": {"json": {"version": 1}},
    "POST /api/experiments/{experiment}/stop": {"json": {}},
    "POST /api/experiments/{experiment}/promote": {"json": {"variant": "b"}},
    "POST /api/scenarios/{scenario}/rollback": {"json": {"version": 1}},
    "POST /api/scenarios/{scenario}/why-not": {"json": {"request": {"session_id": "s-1"}, "items": ["shoe-1"]}},
    "POST /api/scenarios/{scenario}/preview": {"json": {"scenario": {}, "request": {"session_id": "s-1"}}},
}
STATIC = {"demo": "shop.css", "console": "console.css"}
OTHER = new_key("other", ["events"], public=False, now_ms=0).text


def sent(method: str, path: str, **headers: str) -> tuple[str, str, dict[str, Any]]:
    """Return a request that an endpoint takes from whoever may send it."""
    body = BODIES.get(f"{method} {path}", {})
    if (method, path) == ("POST", "/api/events"):
        body = {"json": event("e-1")}
    for name, value in FILLED.items():
        path = path.replace(name, value)
    return (
        method,
        path.replace("{name}", next((file for of, file in STATIC.items() if of in path), "swagger-ui.css")),
        {
            **body,
            "headers": {**body.get("headers", {}), **headers},
        },
    )


def let_in(response: ClientResponse) -> bool:
    """Tell whether the door was no hindrance: answered, or there is no such item."""
    return response.status < 300 or response.status == 404


def test_every_route_says_what_it_asks_and_nothing_else_does() -> None:
    assert {f"{method} {path}" for method, path in ROUTES} == set(ACCESS)


@pytest.fixture(params=[f"{method} {path}" for method, path in ROUTES])
def endpoint(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


async def test_an_endpoint_opens_to_keys_of_its_scope_alone(
    start: Start, redis_settings: RedisSettings, endpoint: str
) -> None:
    client = await start(keys="required", demo_page=True, visible_wait_ms=0)
    keys = {scope: make_key(redis_settings, scope) for scope in Scope}
    await known(client, *keys.values())
    method, path, body = sent(*endpoint.split(" "), **{"X-Forwarded-For": "10.0.0.7"})
    needed = ACCESS[endpoint].scope
    for scope, key in keys.items():
        response = await client.request(method, path, **{**body, "headers": {**body["headers"], **bearer(key.text)}})
        if needed in (None, scope):
            assert let_in(response), await response.text()
        else:
            assert needed is not None
            said = await problem(response, 403)
            assert f"expected a key of scope {needed}, got one of {scope}" in said["detail"]
            assert response.headers["WWW-Authenticate"] == (
                f'Bearer realm="nextclick", error="insufficient_scope", scope="{needed}"'
            )
    for headers, wrong in (({}, "got none"), (bearer(OTHER), "not known here")):
        response = await client.request(method, path, **{**body, "headers": {**body["headers"], **headers}})
        if needed is None:
            assert let_in(response), await response.text()
        else:
            said = await problem(response, 401)
            assert wrong in said["detail"]
            assert response.headers["WWW-Authenticate"].startswith('Bearer realm="nextclick"')
            assert OTHER not in str(said)


@pytest.mark.parametrize("scope", [Scope.EVENTS, Scope.RECOMMEND])
async def test_a_public_key_opens_what_it_is_for_to_pages_of_its_origins_alone(
    start: Start, redis_settings: RedisSettings, scope: Scope
) -> None:
    client = await start(keys="required", demo_page=True, visible_wait_ms=0)
    key = make_key(redis_settings, scope, origins=[PAGE])
    await known(client, key)
    for method, path in ROUTES:
        needed = ACCESS[f"{method} {path}"].scope
        for origin in (PAGE, "https://evil.example", "null", None):
            headers = {**bearer(key.text), **({"Origin": origin} if origin else {})}
            name, filled, body = sent(method, path, **headers)
            response = await client.request(name, filled, **body)
            if needed is None or (needed is scope and origin == PAGE):
                assert let_in(response), await response.text()
            else:
                await problem(response, 403)


async def test_an_endpoint_that_nobody_thought_of_is_for_admins() -> None:
    door = Door(GatewayOptions(keys="required"), KeyTable())

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    from aiohttp.test_utils import TestClient, TestServer

    from gateway.door import DOOR, guard
    from gateway.problems import answer_problems

    app = web.Application(middlewares=[answer_problems, guard])
    app[DOOR] = door
    app.add_routes([web.get("/new", handler)])
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/new")
        assert response.status == 401
        assert "scope admin" in (await response.json(content_type=None))["detail"]
        assert (await client.get("/nothing")).status == 404


async def test_without_any_key_it_says_how_to_make_one(start: Start) -> None:
    client = await start(keys="required")
    said = await problem(await client.post("/api/events", json=event("e-1"), headers=bearer(OTHER)), 401)
    assert said["detail"] == "there are no API keys yet: `nextclick keys create` makes one"


async def test_a_gateway_that_is_to_ask_for_keys_is_not_ready_before_it_has_them(
    start: Start, redis_settings: RedisSettings
) -> None:
    client = await start(keys="required")
    tables = (await (await client.get("/readyz")).json())["tables"]
    assert tables["keys"]["loaded"] is True
    assert client.app is not None
    from gateway.tables import REPLICAS

    client.app[REPLICAS]["keys"].loaded = False
    said = await problem(await client.post("/api/events", json=event("e-1"), headers=bearer(OTHER)), 503)
    assert "still being loaded" in said["detail"]


async def test_a_revoked_key_is_refused_without_a_restart(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(keys="required")
    key, other = make_key(redis_settings, "events"), make_key(redis_settings, "events")
    await known(client, key, other)
    revoke_key(redis_settings, key.key.id)
    await unknown(client, key)
    await problem(await client.post("/api/events", json=event("e-1"), headers=bearer(key.text)), 401)
    assert (await client.post("/api/events", json=event("e-2"), headers=bearer(other.text))).status == 202


async def test_after_a_rotation_both_secrets_work_until_the_overlap_is_over(
    start: Start, redis_settings: RedisSettings
) -> None:
    now_ms = [1_000_000]
    client = await start(keys="required", clock=lambda: now_ms[0])
    before = make_key(redis_settings, "events")
    await known(client, before)
    after = rotate_key(redis_settings, before.key.id, overlap_ms=60_000, now_ms=now_ms[0])
    await known(client, after)

    async def statuses() -> list[int]:
        stamped = event("e-1") | {"ts": now_ms[0]}
        answers = [await client.post("/api/events", json=stamped, headers=bearer(one.text)) for one in (before, after)]
        return [answer.status for answer in answers]

    assert await statuses() == [202, 202]
    now_ms[0] += 59_999
    assert await statuses() == [202, 202]
    now_ms[0] += 1
    assert await statuses() == [401, 202]


async def test_a_page_with_a_public_key_needs_no_other_setting(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(keys="required")
    key = make_key(redis_settings, "events", "recommend", origins=[PAGE])
    await known(client, key)
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    for path, body, status in (
        ("/api/events", event("e-1"), 202),
        ("/api/recommendations/homepage", {"session_id": "s"}, 200),
    ):
        preflight = await client.options(path, headers={"Origin": PAGE, **asks})
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, PAGE)
        assert preflight.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
        answer = await client.post(path, json=body, headers={"Origin": PAGE, **bearer(key.text)})
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, PAGE)
        refused = await client.post(path, json=body, headers={"Origin": PAGE})
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, PAGE)
        foreign = await client.options(path, headers={"Origin": "https://evil.example", **asks})
        assert (foreign.status, "Access-Control-Allow-Origin" in foreign.headers) == (405, False)
    for path in ("/api/items/shoe-1", "/api/stock", "/api/items", "/metrics", "/readyz"):
        closed = await client.options(path, headers={"Origin": PAGE, **asks})
        assert (closed.status, "Access-Control-Allow-Origin" in closed.headers) == (405, False)
        assert "Access-Control-Allow-Origin" not in (await client.get(path, headers={"Origin": PAGE})).headers


async def test_a_beacon_brings_its_public_key_in_the_address(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(keys="required")
    public, secret = make_key(redis_settings, "events", origins=[PAGE]), make_key(redis_settings, "events")
    await known(client, public, secret)
    beacon = {"json": event("e-1"), "headers": {"Origin": PAGE}}
    taken = await client.post(f"/api/events?key={public.text}", **beacon)  # type: ignore[arg-type]
    assert (taken.status, taken.headers["Access-Control-Allow-Origin"]) == (202, PAGE)
    said = await problem_of(await client.post(f"/api/events?key={secret.text}", **beacon), 401)  # type: ignore[arg-type]
    assert "only a public key" in said["detail"]
    assert secret.text not in str(said)
    wrong = await client.get(f"/api/items?key={public.text}", headers={"Origin": PAGE})
    assert "only a public key" in (await problem_of(wrong, 401))["detail"]
    foreign = await client.post(f"/api/events?key={public.text}", json=event("e-1"))
    assert "a request without Origin" in (await problem_of(foreign, 403))["detail"]


async def problem_of(response: Any, status: int) -> dict[str, Any]:
    """A problem of a request whose address has a query, which no answer repeats."""
    assert response.status == status, await response.text()
    found: dict[str, Any] = await response.json(content_type="application/problem+json")
    assert found["instance"] == response.url.raw_path
    return found


async def test_cors_alone_opens_no_write(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(keys="required", cors_origins=("*",), catalogue_origins=(PAGE,), visible_wait_ms=0)
    events, catalogue = make_key(redis_settings, "events"), make_key(redis_settings, "catalogue")
    await known(client, events, catalogue)
    asked = {"json": SHOE, "headers": {"Origin": PAGE}}
    await problem(await client.put("/api/items/shoe-1", **asked), 401)  # type: ignore[arg-type]
    for key, origin, status in (
        (events, PAGE, 403),
        (catalogue, "https://evil.example", 403),
        (catalogue, PAGE, 202),
    ):
        headers = {"Origin": origin, **bearer(key.text)}
        assert (await client.put("/api/items/shoe-1", json=SHOE, headers=headers)).status == status


async def test_metrics_are_for_admins_and_the_machine_itself(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(keys="required")
    admin = make_key(redis_settings, "admin")
    await known(client, admin)
    assert (await client.get("/metrics")).status == 200
    for headers in ({"X-Forwarded-For": "10.0.0.7"}, {"Host": "shop.example"}, {"Origin": PAGE}):
        assert (await client.get("/metrics", headers={**headers, **bearer(admin.text)})).status == 200
        said = await problem(await client.get("/metrics", headers=headers), 401)
        assert "scope admin" in said["detail"]


async def test_asking_for_the_head_alone_opens_nothing(start: Start) -> None:
    client = await start(keys="required")
    for path, status in (("/metrics", 401), ("/healthz", 200), ("/api/items", 405)):
        assert (await client.head(path, headers={"X-Forwarded-For": "10.0.0.7"})).status == status


async def test_keys_go_on_from_memory_while_redis_is_away_and_end_where_it_says_so(
    start: Start, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path) as server:
        redis = RedisSettings(url=server.url, prefix="away", timeout_ms=500)
        client = await start(keys="required", redis=redis)
        key = make_key(redis, "recommend")
        await known(client, key)
        server.stop()
        asked = {"json": {"session_id": "s-1"}}
        assert (await client.post("/api/recommendations/cart", **asked, headers=bearer(key.text))).status == 200
        await problem(await client.post("/api/recommendations/cart", **asked, headers=bearer(OTHER)), 401)
        server.start()
        connection = connect(redis)
        connection.flushall()
        connection.close()
        await unknown(client, key)
        await problem(await client.post("/api/recommendations/cart", **asked, headers=bearer(key.text)), 401)


async def test_dead_letters_want_an_admin_key_where_keys_are_asked(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(keys="required")
    admin = make_key(redis_settings, "admin")
    await known(client, admin)
    await problem(await client.get("/api/dead-letters"), 401)
    headers = {**bearer(admin.text), "X-Forwarded-For": "10.0.0.7", "Host": "shop.example"}
    assert (await client.get("/api/dead-letters", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        *(
            ("localhost", True),
            ("localhost:8080", True),
            ("127.0.0.1:1", True),
            ("[::1]:8080", True),
            ("LocalHost", True),
        ),
        *(("shop.localhost:80", True), ("shop.internal", True), ("shop.internal:99", True), ("gateway:8080", True)),
        *(("evil.example", False), ("evil.example:8080", False), ("127.0.0.1.nip.io", False), ("10.0.0.7", False)),
        *(("localhost.evil.example", False), ("[fe80::1]", False), ("shop.internal.evil.example", False)),
    ],
)
async def test_a_name_that_was_made_to_lead_here_is_refused(start: Start, host: str, taken: bool) -> None:
    client = await start(hosts=("shop.internal",), visible_wait_ms=0)
    for method, path in ROUTES:
        if path in ("/", "/demo/{name}", "/api/dead-letters"):
            continue
        name, filled, body = sent(method, path, Host=host)
        if path == "/docs/{name}":
            filled = "/docs/swagger-ui.css"
        response = await client.request(name, filled, **body)
        if taken or path in ("/healthz", "/readyz"):
            assert let_in(response), (path, await response.text())
        else:
            assert "gateway.hosts" in (await problem(response, 403))["detail"]


async def test_hosts_are_not_looked_at_where_keys_are_the_guard(start: Start, redis_settings: RedisSettings) -> None:
    key = make_key(redis_settings, "events")
    for options, headers in (
        ({"keys": "required"}, bearer(key.text)),
        ({"hosts": ("*",)}, {}),
    ):
        client = await start(**options)
        if headers:
            await known(client, key)
        answer = await client.post("/api/events", json=event("e-1"), headers={"Host": "evil.example", **headers})
        assert answer.status == 202


@pytest.mark.parametrize("name", ["https://shop.example", "shop.example:8080", "shop.example/x", "", "a b"])
def test_a_host_of_the_settings_is_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="without scheme and port"):
        GatewayOptions(hosts=(name,))


def test_hosts_may_be_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_GATEWAY__HOSTS", "Shop.example, 10.0.0.7,fd00::1")
    options = GatewaySettings().gateway
    assert options.hosts == ("Shop.example", "10.0.0.7", "fd00::1")
    door = Door(options, KeyTable())
    for host in ("shop.example:1", "10.0.0.7", "[fd00::1]:8080"):
        door.expect_short({"Host": host}, Scope.RECOMMEND)


def test_a_request_without_a_host_is_no_browsers() -> None:
    Door(GatewayOptions(), KeyTable()).expect_short({}, Scope.RECOMMEND)


def test_hosts_that_were_let_in_do_not_fill_memory() -> None:
    door = Door(GatewayOptions(), KeyTable())
    for port in range(2000):
        door.expect_short({"Host": f"localhost:{port}"}, Scope.RECOMMEND)
    assert len(door._known) == 100


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": ""}, True),
        ({"host": "10.0.0.7"}, True),
        ({"keys": "required"}, True),
        ({"host": "0.0.0.0", "keys": "open-to-anyone"}, False),
    ],
)
def test_keys_are_asked_where_others_reach_the_port(options: dict[str, Any], asked: bool) -> None:
    assert GatewayOptions(**options).asks_keys is asked
