"""GET /api/quality and the gauges: what was counted is judged, with the catalogue of this process."""

from __future__ import annotations

import time
from typing import Any

import pytest

from contracts.keys import Keys
from contracts.settings import QualityOptions, RedisSettings
from state.client import connect
from tests.gateway.conftest import Start, problem
from tests.gateway.streams import Streams


def count_faults(redis: RedisSettings) -> None:
    """Count a thousand records in the last ten minutes, a twentieth of them broken; views on two days before, none
    now; two sessions that no human has, one of them long ago.
    """
    client, keys, minute = connect(redis), Keys(redis.prefix), int(time.time()) // 60
    now = {"records": 100, "events": 95, "broken": 5, "clicks": 95, "unknown": 2}
    for back in range(1, 11):
        hour, at = divmod(minute - back, 60)
        client.hset(keys.quality_cells(hour), mapping={f"{at}:{name}": count for name, count in now.items()})
        for day in (1, 2):
            client.hset(keys.quality_cells(hour - 24 * day), mapping={f"{at}:records": 50, f"{at}:type.view": 40})
    client.zadd(keys.quality_bots(), {"s1": 60_000 * minute, "s2": 1})
    client.close()


@pytest.fixture
def counted(redis_settings: RedisSettings) -> RedisSettings:
    count_faults(redis_settings)
    return redis_settings


async def checks(client: Any) -> tuple[Any, dict[str, Any]]:
    response = await client.get("/api/quality")
    assert response.status == 200, await response.text()
    answer = await response.json()
    return answer, {f"{one['name']} {one['of']}".strip(): one for one in answer["checks"]}


async def test_checks_say_what_is_wrong_and_what_to_do(start: Start, streams: Streams, counted: RedisSettings) -> None:
    client = await start()
    await client.put("/api/items/shoe-1", json={"title": "Shoe", "price": 20, "category": "shoes", "stock": 2})
    answer, found = await checks(client)
    assert (answer["state"], answer["bots"], answer["running"]) == ("bad", 1, False)
    assert found["broken"] == {
        "name": "broken",
        "of": "",
        "state": "bad",
        "figure": 0.05,
        "threshold": 0.02,
        "says": "`nextclick dead-letters list` shows them with the reason: mend what writes them to the log.",
    }
    assert found["silent view"]["state"] == "bad"
    assert found["unknown"]["state"] == "ok"
    assert found["late"]["figure"] == 0
    assert found["price"]["state"] == found["title"]["state"] == "ok"
    assert found["picture"]["state"] == "not enough data"


async def test_nothing_is_said_before_anything_is_counted(start: Start) -> None:
    answer, found = await checks(await start())
    assert answer["state"] == "not enough data"
    assert (answer["drift"], answer["drift_pages"]) == ([], None)
    assert {one["state"] for one in found.values()} == {"not enough data"}


async def test_gauges_show_the_checks_where_the_flow_runs(start: Start, counted: RedisSettings) -> None:
    client = await start(quality=QualityOptions(run=True))
    await checks(client)  # a scrape of a slow machine would not wait for it
    text = await (await client.get("/metrics")).text()
    assert 'nextclick_gateway_quality_state{check="broken",of=""} 2.0' in text
    assert 'nextclick_gateway_quality_figure{check="broken",of=""} 0.05' in text
    assert 'nextclick_gateway_quality_state{check="silent",of="view"} 2.0' in text
    assert "nextclick_gateway_quality_bots 1.0" in text


async def test_where_the_flow_is_off_a_scrape_does_not_look(start: Start, counted: RedisSettings) -> None:
    text = await (await (await start()).get("/metrics")).text()
    assert "quality_" not in text


async def test_nothing_can_be_asked(start: Start) -> None:
    found = await problem(await (await start()).get("/api/quality?of=all"), 422)
    assert found["errors"][0]["pointer"] == "/of"
