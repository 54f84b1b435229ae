"""POST /api/collect/{vendor}: payloads of other trackers, into the log."""

from __future__ import annotations

import asyncio
import base64
import gzip
import time
from typing import Any

import orjson
import pytest

from contracts.settings import RedisSettings
from eventlog.contract import Topic
from eventlog.open_log import open_dead_letters
from tests.connect.payloads import NOON, ecommerce, payload
from tests.gateway.api_keys import PAGE, bearer, known, make_key
from tests.gateway.conftest import LOG, Client, Start, problem
from tests.gateway.test_events import logged

JSON = {"Content-Type": "application/json"}
VIEWED = {"event": "Product Viewed", "messageId": "m-1", "anonymousId": "s-1", "properties": {"product_id": "shoe-1"}}
HIT = {"idsite": "1", "rec": "1", "_id": "0123456789abcdef", "_pks": "shoe-1", "rand": "7"}


def at_noon() -> int:
    return NOON + 60_000


async def test_each_vendors_payload_is_in_the_log_and_counted(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(clock=at_noon)
    answers = {}
    for vendor in ("ga4", "segment", "matomo"):
        response = await client.post(f"/api/collect/{vendor}", json=payload(vendor))
        assert response.status == 202, await response.text()
        answers[vendor] = await response.json()
    sent = ecommerce("product_view", {"id": "tent-2"}, dtm=str(NOON))
    snowplow = await client.post("/api/collect/snowplow", data=orjson.dumps(sent), headers=JSON)
    answers["snowplow"] = await snowplow.json()
    counts = {name: (one["accepted"], one["ignored"], len(one["rejected"])) for name, one in answers.items()}
    assert counts == {"ga4": (3, 1, 1), "segment": (3, 1, 1), "matomo": (4, 1, 1), "snowplow": (1, 0, 0)}
    assert answers["segment"]["rejected"][0]["pointer"] == "/batch/3"
    assert answers["segment"]["rejected"][0]["name"] == "Quiz Finished"
    assert len(logged(redis_settings, Topic.CLICKS)) == 11
    await client.close()
    letters = open_dead_letters(LOG, redis_settings)
    found = {(letter.source, letter.reason): orjson.loads(letter.raw) for letter in letters.read(100)}
    letters.close()
    assert set(found) == {("gateway", "unknown_event")}


async def test_one_call_is_answered_with_a_token_and_a_byte_order_mark_is_stepped_over(client: Client) -> None:
    response = await client.post("/api/collect/segment", data=b"\xef\xbb\xbf" + orjson.dumps(VIEWED), headers=JSON)
    answer = await response.json()
    assert answer["token"].startswith("p")
    assert (answer["accepted"], answer["ignored"], answer["rejected"], answer["notes"]) == (1, 0, [], [])
    await problem(await client.post("/api/collect/other", json={}), 404)


async def test_an_event_that_is_too_old_is_refused_with_its_place_and_kept_as_ours(
    start: Start, redis_settings: RedisSettings
) -> None:
    client = await start(clock=lambda: NOON + 3_600_000)
    answer = await (await client.post("/api/collect/ga4", json=payload("ga4"))).json()
    assert [one["pointer"] for one in answer["rejected"]] == ["/events/0", "/events/2", "/events/2", "/events/3"]
    assert answer["rejected"][0]["reason"].startswith("too_old: ")
    await client.close()
    letters = open_dead_letters(LOG, redis_settings)
    kept = [orjson.loads(letter.raw) for letter in letters.read(100) if letter.reason == "too_old"]
    letters.close()
    assert sorted(one["item_id"] for one in kept) == ["4711", "tent-2", "tent-2"]


async def test_matomos_request_may_be_an_address_a_form_or_json(client: Client) -> None:
    query, plain = b"idsite=1&_id=0123456789abcdef&_pks=shoe-1&rand=7", {"Content-Type": "text/plain"}
    sent: list[dict[str, Any]] = [
        *({"params": HIT}, {"data": HIT}, {"json": HIT}, {"json": {"requests": [HIT]}}),
        {"data": query, "headers": plain},
    ]
    for one in sent:
        response = await client.post("/api/collect/matomo", **one)
        assert (response.status, (await response.json())["accepted"]) == (202, 1), await response.text()


async def test_cloudevents_come_structured_binary_and_in_batches(client: Client) -> None:
    fields = {"session_id": "s-1", "item_id": "shoe-1"}
    event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "item.viewed", "data": fields}
    headers = {f"ce-{name}": str(event[name]) for name in ("specversion", "id", "source", "type")}
    one = orjson.dumps(event)
    for body, sent in (
        (one, {"Content-Type": "application/cloudevents+json; charset=UTF-8"}),
        (b"[%s]" % one, {"Content-Type": "application/cloudevents-batch+json"}),
        (orjson.dumps(fields), {**JSON, **headers}),
    ):
        response = await client.post("/api/collect/cloudevents", data=body, headers=sent)
        assert (response.status, (await response.json())["accepted"]) == (202, 1), await response.text()
    both = {"Content-Type": "application/cloudevents+json", **headers}
    said = await problem(await client.post("/api/collect/cloudevents", data=one, headers=both), 400)
    assert "attributes in headers or in the body, got both" in said["detail"]


async def test_ten_thousand_events_in_one_call_are_refused_and_nothing_is_taken(
    client: Client, redis_settings: RedisSettings
) -> None:
    views = [VIEWED, *[{"type": "page", "anonymousId": "s"}] * 9_999]
    said = await problem(await client.post("/api/collect/segment", json={"batch": views}), 422)
    assert said["detail"].startswith("expected at most 1000 events in one request, each item of an order counted")
    order = {"order_id": "o", "products": [{"product_id": f"p-{n}"} for n in range(600)]}
    orders = [{"event": "Order Completed", "anonymousId": "s", "properties": order}] * 2
    await problem(await client.post("/api/collect/segment", json={"batch": orders}), 422)
    assert logged(redis_settings, Topic.CLICKS) == []


DEEP = b'{"client_id":"c","events":' + b"[" * 2000 + b"]" * 2000 + b"}"
BOMB = gzip.compress(b'{"client_id":"' + b"x" * 3_000_000 + b'"}')
MANY = b'{"client_id":"c","events":[' + b"[]," * 100_001 + b"[]]}"


BROKEN: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"{", JSON, 400, "the body is not JSON"),
    (b"", JSON, 400, "got an empty one"),
    (b'{"client_id":"\xe9"}', JSON, 400, "the body is not JSON"),
    ('{"client_id":"c"}'.encode("utf-16"), JSON, 400, "the body is not JSON"),
    (b"{}", {"Content-Type": "application/json; charset=iso-8859-1"}, 415, "expected UTF-8"),
    (b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "expected Content-Type"),
    (DEEP, JSON, 400, "the body is not JSON"),
    (MANY, JSON, 422, "expected at most 100000 lists and objects"),
    (BOMB, {**JSON, "Content-Encoding": "gzip"}, 413, "expected a body of at most 1048576 bytes"),
]


async def test_a_body_that_cannot_be_read_is_refused(client: Client) -> None:
    for body, headers, status, said in BROKEN:
        response = await client.post("/api/collect/ga4", data=body, headers=headers)
        assert said in (await problem(response, status))["detail"]


async def test_a_letter_keeps_no_key_that_came_along(client: Client, redis_settings: RedisSettings) -> None:
    own = {"event": "Own", "anonymousId": "a", "writeKey": "SECRET-1"}
    await client.post("/api/collect/segment", json=own)
    await client.post("/api/collect/matomo", json={"requests": ["?token_auth=SECRET-2&_id=a&own=1"]})
    await client.post("/api/collect/matomo", json={"token_auth": "SECRET-3", "own": "1"})
    await client.post("/api/collect/matomo", params={"token_auth": "SECRET-4", "own": "1"})
    await client.close()
    letters = open_dead_letters(LOG, redis_settings)
    found = letters.read(100)
    letters.close()
    assert len(found) == 4
    assert not any(b"SECRET" in letter.raw or "SECRET" in letter.detail for letter in found)


async def test_a_key_may_come_as_each_vendor_sends_it(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(keys="required")
    mine, other = make_key(redis_settings, "events"), make_key(redis_settings, "recommend")
    page = make_key(redis_settings, "events", origins=[PAGE])
    await known(client, mine, other, page)

    def basic(text: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{text}:".encode()).decode()}

    async def status(path: str = "/api/collect/segment", **headers: str) -> int:
        return (await client.post(path, json=VIEWED, headers=headers)).status

    assert await status(**basic(mine.text)) == 202
    assert await status(**bearer(mine.text)) == 202
    assert await status(f"/api/collect/ga4?measurement_id=G-1&api_secret={mine.text}") == 202
    assert await status(f"/api/collect/matomo?token_auth={mine.text}") == 202
    assert await status(f"/api/collect/segment?key={page.text}", Origin=PAGE) == 202
    assert await status(**basic(other.text)) == 403
    assert await status(**basic("nobody")) == 401
    assert await status(Authorization="Basic %%%") == 401
    assert await status() == 401
    assert await status(f"/api/events?api_secret={mine.text}") == 401
    assert await status(f"/api/collect/ga4?api_secret={page.text}") == 403


async def test_segments_key_may_stand_in_its_body_where_nothing_else_brings_one(
    start: Start, redis_settings: RedisSettings
) -> None:
    client = await start(keys="required")
    mine, other = make_key(redis_settings, "events"), make_key(redis_settings, "recommend")
    page = make_key(redis_settings, "events", origins=[PAGE])
    await known(client, mine, other, page)

    async def status(body: Any, path: str = "/api/collect/segment", **headers: str) -> int:
        return (await client.post(path, json=body, headers=headers)).status

    assert await status({**VIEWED, "writeKey": mine.text}) == 202
    assert await status({"batch": [VIEWED], "writeKey": mine.text}) == 202
    assert await status({**VIEWED, "writeKey": page.text}, Origin=PAGE) == 202
    assert await status({**VIEWED, "writeKey": page.text}) == 403
    assert await status({**VIEWED, "writeKey": other.text}) == 403
    assert await status({**VIEWED, "writeKey": "nobody"}) == 401
    assert await status({**VIEWED, "writeKey": 7}) == 401
    assert await status(VIEWED) == 401
    assert await status({**VIEWED, "writeKey": mine.text}, **bearer("nobody")) == 401
    assert await status({**VIEWED, "writeKey": mine.text}, "/api/collect/ga4") == 401
    assert (await client.post("/api/collect/segment", data=b"{", headers=JSON)).status == 401
    assert (await client.post("/api/collect/segment")).status == 401


DENIED: dict[str, tuple[str, Any]] = {
    "ga4": ("ga4", {"client_id": "1.2", "consent": {"ad_personalization": "DENIED"}, "events": []}),
    "tag manager": ("ga4", {"client_id": "1.2", "events": [{"name": "view_item", "params": {"gcs": "G100"}}]}),
    "segment": ("segment", {**VIEWED, "context": {"consent": {"categoryPreferences": {"Analytics": False}}}}),
    "cloudevents": (
        "cloudevents",
        {"specversion": "1.0", "id": "a", "source": "/", "type": "x.viewed", "data": {"consent": False}},
    ),
}


@pytest.mark.parametrize("name", DENIED)
async def test_what_a_vendor_says_of_consent_is_obeyed_and_nothing_is_kept(
    start: Start, redis_settings: RedisSettings, name: str
) -> None:
    vendor, payload = DENIED[name]
    client = await start()
    items = [{"item_id": "boot"}]
    if vendor == "ga4":
        event = (payload["events"] or [{"name": "view_item", "params": {}}])[0]
        payload = {**payload, "events": [{**event, "params": {**event["params"], "items": items}}]}
    if vendor == "cloudevents":
        payload = {**payload, "data": {**payload["data"], "session_id": "s", "item_id": "boot"}}
    path = f"/api/collect/{vendor}"
    answer = await (await client.post(path, json=payload)).json()
    assert (answer["accepted"], answer["not_kept"], answer["rejected"]) == (0, 1, [])
    broken = {**payload, "events": [{**payload["events"][0], "name": "nothing"}]} if vendor == "ga4" else None
    if vendor == "segment":
        broken = {**payload, "event": "Nothing"}
    if broken is not None:  # what is refused is named to its sender, and kept nowhere
        answer = await (await client.post(path, json=broken)).json()
        assert [one["reason"].partition(":")[0] for one in answer["rejected"]] == ["unknown_event"]
    reader = open_dead_letters(LOG, redis_settings)
    assert reader.count() == 0
    reader.close()


async def test_a_format_that_is_not_known_is_answered_with_those_that_are(client: Client) -> None:
    said = await problem(await client.post("/api/collect/mixpanel", json=VIEWED), 404)
    assert said["detail"] == (
        "there is no format 'mixpanel': expected one of ga4, segment, snowplow, cloudevents, matomo"
    )


async def test_a_key_that_can_do_more_is_refused_in_an_address(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(keys="required")
    wide = make_key(redis_settings, "events", "recommend")
    await known(client, wide)
    response = await client.post(f"/api/collect/ga4?api_secret={wide.text}", json=payload("ga4"))
    said = await problem_at(response, 403)
    assert said == (
        "expected a key of scope events alone, as it stands in the address, got one of events, recommend: make another "
        "with `nextclick keys create`, and rotate this one"
    )


async def problem_at(response: Any, status: int) -> str:
    assert response.status == status, await response.text()
    detail: str = (await response.json(content_type=None))["detail"]
    return detail


async def test_a_repeated_delivery_counts_once(start: Start, streams: Any) -> None:
    client = await start()
    for _ in range(3):
        answer = await (await client.post("/api/collect/segment", json=VIEWED)).json()
        assert answer["accepted"] == 1
    until = time.monotonic() + 60
    question = {"session_id": "s-1", "limit": 1, "after": answer["token"]}
    while True:
        said = await (await client.post("/api/recommendations/homepage", json=question)).json()
        if not said.get("stale"):
            break
        assert time.monotonic() < until
        await asyncio.sleep(0.05)
    assert said["session"]["events"] == 1
