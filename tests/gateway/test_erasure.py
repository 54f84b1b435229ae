"""A visitor is erased: nothing of them is left in Redis, its log or its files, what others did stays byte for byte."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.keys import Keys
from contracts.settings import RedisSettings
from eventlog.contract import DeadLetter, Topic
from eventlog.open_log import open_reader, open_writer
from state.audit import ADMIN, CATALOGUE, AuditLog
from state.client import connect
from tests.gateway.api_keys import bearer, known, make_key
from tests.gateway.conftest import LOG, Client, Start, event, problem
from tests.gateway.streams import Streams
from tests.gateway.test_scenarios import ask, stock_up

PEOPLE = {"user-anna": ["sess-a1", "sess-a2"], "user-ben": ["sess-b1"], "user-änne": ["sess-ä"]}


@pytest.fixture
def redis(redis_settings: RedisSettings) -> Iterator[Any]:
    with connect(redis_settings) as client:
        yield client


async def visit(client: Client, user: str, session: str, clicks: int = 3) -> str:
    """A visitor looks around, logs in, and is shown pages; returns the token of the last click."""
    events = [event(f"{session}-{n}", session, f"shoe-{n + 1}") for n in range(clicks)]
    events.append(event(f"{session}-in", session, "shoe-1", user_id=user, context={"device": "phone"}))
    answer = await client.post("/api/events", json=events)
    token: str = (await answer.json())["token"]
    await ask(client, "homepage", session_id=session, user_id=user, after=token)
    return token


def everything(redis: Any, prefix: str) -> dict[bytes, bytes]:
    """All keys of the deployment, as Redis would write them down, without what expires in its own time."""
    return {key: redis.dump(key) or b"" for key in redis.scan_iter(f"{prefix}:*", count=1000)}


def named_in(redis: Any, prefix: str, *names: str) -> list[bytes]:
    """Keys that hold a name, in the key or in any byte of the value."""
    wanted = [name.encode() for name in names]
    return sorted(
        key for key, raw in everything(redis, prefix).items() if any(name in key or name in raw for name in wanted)
    )


def log_of(redis_settings: RedisSettings) -> dict[tuple[str, int, int], bytes]:
    found = {}
    for topic in (Topic.CLICKS, Topic.IMPRESSIONS):
        reader = open_reader(LOG, redis_settings, topic, list(range(LOG.partitions)), "test")
        for partition, earliest in reader.earliest().items():
            reader.seek(partition, earliest)
        while batches := reader.poll(1000, 0.0):
            for batch in batches:
                for message in batch.messages:
                    found[topic.value, batch.partition, message.offset] = message.value
        reader.close()
    return found


async def receipt_of(client: Client, answer: dict[str, Any], **headers: Any) -> dict[str, Any]:
    """The receipt of an erasure, once it is done."""
    until = time.monotonic() + 60
    while True:
        response = await client.get(f"/api/erasures/{answer['id']}", **headers)
        found: dict[str, Any] = await response.json()
        if response.status == 200 and found["status"] == "done":
            return found
        assert time.monotonic() < until, found
        await asyncio.sleep(0.05)


def removed(receipt: dict[str, Any]) -> dict[str, int]:
    return {one["where"]: one["count"] for one in receipt["removed"]}


async def test_nothing_is_left_of_a_user_and_all_of_the_others(
    start: Start, streams: Streams, redis_settings: RedisSettings, redis: Any
) -> None:
    client = await start(caps={"push": {"pages": 5, "within": "P1D"}})
    await stock_up(client)
    for user, sessions in PEOPLE.items():
        await client.put(f"/api/users/{user}", json={"age": 34})
        for session in sessions:
            await visit(client, user, session)
        await ask(client, "push", session_id=sessions[0], user_id=user)
    writer = open_writer(LOG, redis_settings)
    for name in ("sess-a1", "sess-b1"):
        writer.dead_letter(
            [DeadLetter("gateway", 0, "invalid", "no", 1, b'{"session_id": "%b", "v": 3' % name.encode())]
        )
    writer.close()
    await until_shown(client, redis_settings)
    mine, names = PEOPLE["user-anna"], ("user-anna", "sess-a1", "sess-a2")
    before_log = log_of(redis_settings)
    others = {place: value for place, value in before_log.items() if not any(name.encode() in value for name in names)}
    keys_of_others = [
        key
        for key in everything(redis, redis_settings.prefix)
        if any(name.encode() in key for name in ("user-ben", "sess-b1", "user-änne", "sess-ä"))
    ]
    before = {key: redis.dump(key) for key in keys_of_others}
    answer = await (await client.delete("/api/users/user-anna")).json()
    assert (answer["status"], answer["visible"], answer["subject"]) == ("running", True, "user")
    receipt = await receipt_of(client, answer)
    assert named_in(redis, redis_settings.prefix, *names) == []
    assert log_of(redis_settings) == others
    assert {key: redis.dump(key) for key in keys_of_others} == before
    told = removed(receipt)
    assert told["log:clicks"] == 4 * len(mine)
    assert told["log:impressions"] == len(before_log) - len(others) - told["log:clicks"]
    assert (told["redis:user"], told["redis:session"], told["redis:dead_letters"], told["redis:sent"]) == (1, 2, 1, 1)
    assert receipt["looked"] == {"at_ms": receipt["looked"]["at_ms"], "clean": True, "found": []}
    assert {"aggregate:models", "file:backups"} <= {one["where"] for one in receipt["remains"]}


async def until_shown(client: Client, redis_settings: RedisSettings) -> None:
    """Impressions are written behind the answers."""
    until = time.monotonic() + 60
    while sum(place[0] == "impressions" for place in log_of(redis_settings)) < 7:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)
