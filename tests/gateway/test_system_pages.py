"""GET /api/system: processes that are there or fell silent, how far flows are, dead letters, why it is not ready."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter, Topic
from gateway.draining import DRAINING
from gateway.keys import CLOCK
from state.client import connect
from state.presence import Process, this_process
from state.read_progress import ReadProgress
from tests.gateway.conftest import Client, Start, event
from tests.gateway.test_dead_letters import keep


async def system(client: Client) -> dict[str, Any]:
    response = await client.get("/api/system")
    assert response.status == 200, await response.text()
    found: dict[str, Any] = await response.json()
    return found


def tell(redis_settings: RedisSettings, *processes: Process) -> None:
    redis = connect(redis_settings)
    for one in processes:
        redis.hset(f"{redis_settings.prefix}:processes", one.name, one.encoded())
    redis.close()


async def test_processes_are_alive_or_silent_and_forgotten_after_ten_minutes(
    client: Client, redis_settings: RedisSettings
) -> None:
    assert client.app is not None
    now_ms = client.app[CLOCK]()
    own = this_process("sessions", now_ms - 900_000)
    silent = own.model_copy(update={"pid": 7, "at_ms": now_ms - 60_000})
    tell(redis_settings, silent, own.model_copy(update={"pid": 8, "at_ms": now_ms - 700_000}))
    redis = connect(redis_settings)
    redis.hset(f"{redis_settings.prefix}:processes", "junk", b"{")
    found = await system(client)
    assert [(one["kind"], one["alive"]) for one in found["processes"]] == [("gateway", True), ("sessions", False)]
    assert found["processes"][0]["serves"] == {
        "version": "",
        "session_model": found["processes"][0]["serves"]["session_model"],
        "reranker": "none",
    }
    assert redis.hlen(f"{redis_settings.prefix}:processes") == 2
    redis.close()


async def test_flows_that_read_are_told_with_what_they_have_not_read(
    client: Client, redis_settings: RedisSettings
) -> None:
    assert (await system(client))["flows"] == []
    await client.post("/api/events", json=[event(f"e-{n}") for n in range(5)])
    at = (await (await client.post("/api/events", json=event("e-9"))).json())["token"]
    partition = int(at[1:].partition(":")[0])
    progress = ReadProgress(redis_settings, "sessions", Topic.CLICKS)
    progress.tell({partition: 4}, lost=2)
    progress.close()
    found = await system(client)
    assert found["flows"] == [{"flow": "sessions", "topic": "clicks", "behind": 2, "lost": 2}]
    assert found["log_bytes"]["clicks"] > 0
    assert (found["redis"]["answers"], found["redis"]["takes_writes"]) == (True, True)
    assert found["redis"]["keys"] > 0


@pytest.mark.kafka
async def test_how_far_flows_are_behind_is_told_of_a_kafka_log_too(
    start: Start, kafka_log_settings: LogSettings, redis_settings: RedisSettings
) -> None:
    client = await start(log=kafka_log_settings)
    answer = await client.post("/api/events", json=[event(f"e-{n}") for n in range(5)])
    assert (await answer.json())["accepted"] == 5
    progress = ReadProgress(redis_settings, "sessions", Topic.CLICKS)
    progress.tell({0: 0}, lost=0)
    progress.close()
    first = (await system(client))["flows"]
    assert first == [{"flow": "sessions", "topic": "clicks", "behind": 5, "lost": 0}]
    await client.post("/api/events", json=event("e-9"))
    assert (await system(client))["flows"] == first, "the broker is asked every few seconds at most"


async def test_dead_letters_are_counted_by_reason_and_not_again_at_once(
    client: Client, redis_settings: RedisSettings
) -> None:
    letters = [DeadLetter("gateway", 0, reason, "", 1000 + n, b"x") for n, reason in enumerate("aab")]
    keep(redis_settings, *letters)
    counted = (await system(client))["dead_letters"]
    assert (counted["by_reason"], counted["newest_ms"]) == ({"a": 2, "b": 1}, 1002)
    keep(redis_settings, *letters)
    assert (await system(client))["dead_letters"] == counted


async def test_why_it_is_not_ready_is_said(start: Start) -> None:
    client = await start()
    assert (await system(client))["ready"] is True
    assert client.app is not None
    client.app[DRAINING].leaving = True
    found = await system(client)
    assert (found["ready"], found["why_not"]) == (False, "this process is shutting down: ask another")
