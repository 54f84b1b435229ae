"""GET /api/live: numbers of all gateway processes, whichever is asked; nothing is counted while nobody looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.settings import RedisSettings
from gateway import live as live_module
from gateway.live import LIVE, Live, until_beat_s
from gateway.live_figures import BOUNDS_S, STEP_MS, Step, grown, parts_of, quantile_ms, stages, together
from state.client import connect
from tests.gateway.conftest import Client, Start, event, problem

RECOMMENDED = "POST /api/recommendations/{scenario}"


@pytest.fixture(autouse=True)
def watched_for_long(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(live_module, "WATCHED_MS", 600_000)
    return iter(())


def live_of(client: Client) -> Live:
    app = client.app
    assert app is not None
    return app[LIVE]


async def look(client: Client) -> dict[str, Any]:
    response = await client.get("/api/live")
    assert response.status == 200, await response.text()
    found: dict[str, Any] = await response.json()
    return found


async def ask(client: Client, times: int, session: str) -> None:
    for n in range(times):
        await client.post("/api/recommendations/homepage", json={"session_id": f"{session}-{n}"})


async def test_whichever_process_is_asked_numbers_of_all_are_shown(start: Start) -> None:
    one, other = await start(), await start()
    both = (live_of(one), live_of(other))
    both[1]._own = both[1]._own.model_copy(update={"pid": 1})  # in a process of its own it has another number
    await look(one)
    for _ in range(2):  # learns that somebody looks; begins to count
        for process in both:
            await process.beat()
    await ask(one, 4, "a")
    await ask(other, 3, "b")
    await other.post("/api/events", json=[event("e-1"), event("e-2", ts=1)])
    for process in both:
        await process.beat()
    for client in (one, other):
        found = await look(client)
        assert (found["processes"], found["silent"], found["recommendations"]) == (2, 0, 7)
        assert {row["stage"]: row["count"] for row in found["stages"]}["total"] == 7
        assert found["degraded"]["general_model"] == 7
        assert sum(point["recommendations_s"] > 0 for point in found["points"]) >= 1
        assert all(point["p99_ms"] >= point["p50_ms"] for point in found["points"] if point["p50_ms"] is not None)
    assert found["fresh"]["clicks_behind"] == 1  # no flow runs here


async def test_while_nobody_looks_a_process_says_that_it_is_there_and_counts_nothing(
    start: Start, redis_settings: RedisSettings
) -> None:
    client, redis = await start(), connect(redis_settings)
    await ask(client, 2, "a")
    for _ in range(3):
        await live_of(client).beat()
    assert redis.keys(f"{redis_settings.prefix}:live:*") == []
    assert redis.hlen(f"{redis_settings.prefix}:processes") == 1
    await client.close()
    assert redis.hlen(f"{redis_settings.prefix}:processes") == 0
    redis.close()


async def test_a_key_of_another_kind_is_taken_for_nobody_and_goes(start: Start, redis_settings: RedisSettings) -> None:
    client, redis = await start(), connect(redis_settings)
    key = f"{redis_settings.prefix}:processes"
    redis.delete(key)
    redis.set(key, "x")
    assert (await look(client))["processes"] == 0
    for _ in range(2):
        await live_of(client).beat()
    assert (await look(client))["processes"] == 1
    redis.close()


async def test_points_are_those_since_and_of_five_minutes_at_most(client: Client) -> None:
    whole = (await look(client))["points"]
    assert 150 <= len(whole) <= 151
    some = await (await client.get(f"/api/live?since_ms={whole[-3]['at_ms']}")).json()
    assert 3 <= len(some["points"]) <= 100
    assert some["points"][0]["at_ms"] == whole[-3]["at_ms"]
    assert "/since_ms" in str(await problem(await client.get("/api/live?since_ms=soon"), 422))


def test_a_step_puts_processes_together_and_a_process_that_beat_twice_is_one() -> None:
    rows = [["answer", RECOMMENDED, "200", 10], ["stage", "total", "3", 10]]
    lines = {
        b"gateway:a:1/7": b'{"s": 2.0, "rows": %s}' % str(rows).replace("'", '"').encode(),
        b"gateway:a:2/4": b'{"s": 1.0, "rows": [["answer", "%s", "503", 1]]}' % RECOMMENDED.encode(),
        b"gateway:a:2/5": b'{"s": 1.0, "rows": [["answer", "%s", "200", 3]]}' % RECOMMENDED.encode(),
        b"gateway:a:3/1": b'{"s": "x"}',
        b"gateway:a:4/1": b'{"s": 1.0, "rows": [["answer", "x", "200", -4]]}',
    }
    step = Step.of(9, parts_of(lines))
    point = step.point()
    assert (point["at_ms"], point["processes"]) == (9 * STEP_MS, 2)
    assert (point["requests_s"], point["errors_s"]) == (7.0, 0.5)
    assert stages(together([step, step])) == [{"stage": "total", "count": 20, "p50_ms": 0.375, "p99_ms": 0.497}]


def test_what_grew_is_told_and_whoever_looks_is_not() -> None:
    before = {("answer", "x", "200"): 4, ("answer", "GET /api/live", "200"): 1}
    now = {("answer", "x", "200"): 6, ("answer", "GET /api/live", "200"): 9, ("event", "accepted", ""): 0}
    assert grown(before, now, 2.0004) == {"s": 2.0, "rows": [["answer", "x", "200", 2]]}


@given(st.lists(st.integers(0, 50), min_size=len(BOUNDS_S) + 1, max_size=len(BOUNDS_S) + 1), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_its_bucket(counts: list[int], q: float) -> None:
    found = quantile_ms(counts, q)
    if not sum(counts):
        assert found is None
        return
    assert found is not None
    below = sum(n for n, bound in zip(counts, BOUNDS_S, strict=False) if 1000 * bound < found)
    upto = sum(n for n, bound in zip(counts, (0.0, *BOUNDS_S), strict=False) if 1000 * bound <= found + 0.001)
    assert below <= q * sum(counts) + 1e-6
    assert upto >= q * sum(counts) - 1e-6 or found == 1000 * BOUNDS_S[-1]


@given(st.integers(0, 10**13))
def test_a_beat_falls_into_the_middle_of_a_step(now_ms: int) -> None:
    wait_s = until_beat_s(now_ms)
    assert 0.5 < wait_s <= 2.5
    assert (now_ms + round(1000 * wait_s)) % STEP_MS == STEP_MS // 2
