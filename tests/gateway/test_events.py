"""POST /api/events."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import orjson
import pytest

from contracts.ids import partition_of
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Position, Topic
from eventlog.open_log import open_dead_letters, open_reader
from state.embedded import EmbeddedRedis
from tests.gateway.conftest import LOG, Client, Start, event, problem


def logged(redis: RedisSettings, topic: Topic, log: LogSettings = LOG) -> list[dict[str, object]]:
    """Return the documents in a topic, partition by partition."""
    reader = open_reader(log, redis, topic, list(range(log.partitions)), "test")
    try:
        return [orjson.loads(message.value) for batch in reader.poll(1000, 0.1) for message in batch.messages]
    finally:
        reader.close()


async def test_one_event_is_taken_and_its_token_is_its_position(client: Client, redis_settings: RedisSettings) -> None:
    first = await client.post("/api/events", json=event("e-1", campaign="spring"))
    second = await client.post("/api/events", json=event("e-2"))
    partition = partition_of("s-1", LOG.partitions)
    assert (first.status, second.status) == (202, 202)
    assert await first.json() == {"accepted": 1, "rejected": [], "token": f"p{partition}:0"}
    assert await second.json() == {"accepted": 1, "rejected": [], "token": f"p{partition}:1"}
    stored = logged(redis_settings, Topic.CLICKS)
    assert [document["event_id"] for document in stored] == ["e-1", "e-2"]
    assert stored[0]["campaign"] == "spring"


async def test_the_token_of_an_array_is_its_last_click(client: Client) -> None:
    response = await client.post("/api/events", json=[event("e-1"), event("e-2"), event("e-3")])
    assert (await response.json())["token"] == f"p{partition_of('s-1', LOG.partitions)}:2"


async def test_broken_events_are_named_by_index_and_become_dead_letters(
    client: Client, redis_settings: RedisSettings
) -> None:
    late = event("e-4", ts=event("x")["ts"] + 600_000)
    response = await client.post("/api/events", json=[event("e-1"), {"v": 2}, "click", late, event("e-5", ts="now")])
    answer = await response.json()
    assert (response.status, answer["accepted"]) == (202, 1)
    assert [one["index"] for one in answer["rejected"]] == [1, 2, 3, 4]
    reasons = ["unknown_version", "not_an_object", "future_timestamp", "invalid"]
    assert [one["reason"].split(":")[0] for one in answer["rejected"]] == reasons
    await client.close()
    letters = open_dead_letters(LOG, redis_settings)
    found = sorted((letter.source, letter.reason) for letter in letters.read(100))
    letters.close()
    assert found == sorted(("gateway", reason) for reason in reasons)
    assert [document["event_id"] for document in logged(redis_settings, Topic.CLICKS)] == ["e-1"]


async def test_an_impression_goes_to_the_impressions_log_and_gives_no_token(
    client: Client, redis_settings: RedisSettings
) -> None:
    shown = {**event("e-1"), "type": "impression", "items": ["shoe-1", "shoe-2"]}
    del shown["item_id"]
    response = await client.post("/api/events", json=shown)
    assert await response.json() == {"accepted": 1, "rejected": [], "token": None}
    assert [document["event_id"] for document in logged(redis_settings, Topic.IMPRESSIONS)] == ["e-1"]
    assert logged(redis_settings, Topic.CLICKS) == []


async def test_a_beacon_sends_text_plain(client: Client) -> None:
    headers = {"Content-Type": "text/plain;charset=UTF-8"}
    response = await client.post("/api/events", data=orjson.dumps(event("e-1")), headers=headers)
    assert (response.status, (await response.json())["accepted"]) == (202, 1)


async def test_a_compressed_body_is_read(client: Client) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(orjson.dumps(event("e-1")))
    response = await client.post("/api/events", data=body, headers=headers)
    assert (response.status, (await response.json())["accepted"]) == (202, 1)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{", "the body is not JSON"),
        (b"", "expected a JSON body, got an empty one"),
        (b"\xff\xfe", "the body is not JSON"),
        (b'{"ts": NaN}', "the body is not JSON"),
    ],
)
async def test_a_malformed_body_is_400(client: Client, body: bytes, detail: str) -> None:
    response = await client.post("/api/events", data=body, headers={"Content-Type": "application/json"})
    assert detail in (await problem(response, 400))["detail"]


async def test_a_body_that_is_not_what_its_encoding_says_is_400(client: Client) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = await client.post("/api/events", data=b"not gzip", headers=headers)
    assert (await problem(response, 400))["detail"] == "the body is not gzip, as its Content-Encoding says"


async def test_a_body_beyond_the_limit_is_413(start: Start) -> None:
    client = await start(max_body_bytes=2048)
    response = await client.post("/api/events", json=event("e-1", note="x" * 2048))
    assert (await problem(response, 413))["detail"] == "expected a body of at most 2048 bytes: send it in parts"


async def test_another_content_type_is_415(client: Client) -> None:
    response = await client.post("/api/events", data={"v": "1"})
    detail = (await problem(response, 415))["detail"]
    assert detail == ("expected Content-Type application/json or text/plain, got application/x-www-form-urlencoded")


async def test_more_events_than_allowed_is_422(start: Start) -> None:
    client = await start(max_events=2)
    response = await client.post("/api/events", json=[event(f"e-{n}") for n in range(3)])
    assert "at most 2 events in one request, got 3" in (await problem(response, 422))["detail"]


async def test_an_event_too_deep_to_write_again_is_refused_and_the_others_are_taken(client: Client) -> None:
    nested = b"[" * 400 + b"]" * 400
    body = b"[" + orjson.dumps(event("e-1"))[:-1] + b',"deep":' + nested + b"}," + orjson.dumps(event("e-2")) + b"]"
    response = await client.post("/api/events", data=body, headers={"Content-Type": "application/json"})
    answer = await response.json()
    assert (response.status, answer["accepted"], answer["rejected"][0]["index"]) == (202, 1, 0)
    assert "nest it less deeply" in answer["rejected"][0]["reason"]


async def test_a_full_log_is_503_with_a_longer_retry_after(start: Start) -> None:
    client = await start(log=LogSettings(partitions=4, max_backlog=2))
    statuses = [(await client.post("/api/events", json=event(f"e-{n}"))).status for n in range(2)]
    response = await client.post("/api/events", json=event("e-3"))
    assert statuses == [202, 202]
    assert "2 records wait to be applied" in (await problem(response, 503))["detail"]
    assert response.headers["Retry-After"] == "5"


async def test_without_redis_events_are_503_and_nothing_was_promised(start: Start, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        client = await start(redis=RedisSettings(url=server.url, timeout_ms=60_000))
        server.kill()
        response = await client.post("/api/events", json=event("e-1"))
        document = await problem(response, 503)
        assert response.headers["Retry-After"] == "1"
        assert document["detail"].startswith("the event log takes nothing now: send it again (")
        server.start()
        assert (await client.post("/api/events", json=event("e-2"))).status == 202
        await client.close()


async def test_an_event_answered_202_survives_the_death_of_redis(start: Start, tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, fsync="everysec").start()
    settings = RedisSettings(url=server.url, prefix="durable", timeout_ms=60_000)
    try:
        client = await start(redis=settings)
        statuses = await asyncio.gather(*(post(client, f"e-{n}") for n in range(50)))
        server.kill()
        assert set(statuses) == {202}
        server.start()
        found = {document["event_id"] for document in logged(settings, Topic.CLICKS)}
        assert found == {f"e-{n}" for n in range(50)}
        await client.close()
    finally:
        server.stop()


async def post(client: Client, event_id: str) -> int:
    response = await client.post("/api/events", json=event(event_id, session_id=f"s-{event_id}"))
    return response.status


async def test_tokens_of_concurrent_requests_name_their_own_events(
    client: Client, redis_settings: RedisSettings
) -> None:
    async def send(n: int) -> tuple[str, str]:
        response = await client.post("/api/events", json=event(f"e-{n}", session_id=f"s-{n}"))
        return f"e-{n}", (await response.json())["token"]

    sent = dict(await asyncio.gather(*(send(n) for n in range(100))))
    reader = open_reader(LOG, redis_settings, Topic.CLICKS, list(range(LOG.partitions)), "test")
    stored = {
        orjson.loads(message.value)["event_id"]: Position(batch.partition, message.offset).token
        for batch in reader.poll(1000, 0.1)
        for message in batch.messages
    }
    reader.close()
    assert stored == sent


async def test_an_event_that_is_larger_than_the_log_takes_is_refused_for_good(
    client: Client, redis_settings: RedisSettings
) -> None:
    refused = await problem(await client.post("/api/events", json=event("e-1", note="x" * 1_000_000)), 413)
    assert "expected at most 1000000: send less with it" in refused["detail"]
    assert (await client.post("/api/events", json=event("e-2", note="x" * 990_000))).status == 202
    assert [document["event_id"] for document in logged(redis_settings, Topic.CLICKS)] == ["e-2"]
