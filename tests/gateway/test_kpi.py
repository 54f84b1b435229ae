"""GET /api/kpi shows what the attribution flow counted, and refuses what it cannot show."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import orjson
import pytest

from contracts.keys import Keys
from contracts.settings import RedisSettings
from gateway.hour_figures import COUNTS, REVENUE, HourFigures, bounded
from state.client import connect
from tests.gateway.conftest import Start, problem


def this_hour() -> int:
    return int(time.time()) // 3600


@pytest.fixture
def counted(redis_settings: RedisSettings) -> RedisSettings:
    """Cells of two scenarios, in this hour and the one before."""
    client, keys = connect(redis_settings), Keys(redis_settings.prefix)
    for hour in (this_hour() - 1, this_hour()):
        for scenario, clicks in (("home", 50_000), ("cart", 200_000)):
            dims = ["yes", scenario, *[""] * 8]
            for counter, count in (("shown", 1_000_000), ("clicks", clicks), ("revenue:EUR", 12_345)):
                client.hset(keys.attribution_cells(hour), orjson.dumps([*dims, counter]), count)
        client.zadd(keys.attribution_hours(), {str(hour): hour})
    client.hset(keys.attribution_cells(this_hour()), b"no cell", 7)
    client.hset(keys.attribution_progress(), mapping={"clicks:0": 12, "clicks:0:newest": 99, "impressions:0": 3})
    client.hset(keys.attribution_facts(), "taken", 15)
    client.close()
    return redis_settings


async def kpi(client: Any, query: str) -> Any:
    response = await client.get(f"/api/kpi{query}")
    assert response.status == 200, await response.text()
    return await response.json()


async def test_figures_are_shown_by_what_is_asked_and_name_their_offsets(start: Start, counted: RedisSettings) -> None:
    answer = await kpi(await start(), "?by=scenario&metric=shown,ctr,revenue")
    assert [(row["of"], row["figures"]) for row in answer["rows"]] == [
        ({"scenario": "cart"}, {"shown": 200, "ctr": 0.2, "revenue:EUR": 2.469}),
        ({"scenario": "home"}, {"shown": 200, "ctr": 0.05, "revenue:EUR": 2.469}),
    ]
    assert (answer["offsets"], answer["facts"]) == ({"clicks:0": 12, "impressions:0": 3}, {"taken": 15})


async def test_hours_are_those_asked_for(start: Start, counted: RedisSettings) -> None:
    client = await start()
    hour = this_hour() * 3_600_000
    answer = await kpi(client, f"?by=hour&metric=shown&from={hour}&to={hour}")
    assert [row["figures"] for row in answer["rows"]] == [{"shown": 200}]
    assert (answer["from_ms"], answer["to_ms"]) == (hour, hour + 3_600_000)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("?by=colour", "/by"),
        ("?metric=luck", "/metric"),
        ("?from=yesterday", "/from"),
        ("?from=2020-01-01", "/from"),
        ("?to=2020-01-01&from=2021-01-01", "/from"),
        ("?limit=1", "/limit"),
    ],
)
async def test_what_cannot_be_shown_is_refused_with_a_pointer(start: Start, query: str, pointer: str) -> None:
    response = await (await start()).get(f"/api/kpi{query}")
    assert response.status == 422
    assert (await response.json())["errors"][0]["pointer"] == pointer


async def test_more_counters_than_one_request_may_read_are_refused(
    start: Start, counted: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.kpi.MOST_CELLS", 12)
    client = await start()
    found = await problem(await client.get("/api/kpi?by=scenario"), 422)
    assert found["errors"] == [
        {
            "pointer": "/from",
            "detail": "expected hours of at most 12 counters, got 13: ask for fewer hours",
        }
    ]
    assert await kpi(client, f"?by=scenario&from={this_hour() * 3_600_000}")


async def test_metrics_have_the_figures_of_the_last_full_hour(start: Start, counted: RedisSettings) -> None:
    client = await start()
    text = await (await client.get("/metrics")).text()
    assert 'nextclick_gateway_hour_shown{recommended="yes",scenario="home"} 100.0' in text
    assert 'nextclick_gateway_hour_clicks{recommended="yes",scenario="cart"} 20.0' in text
    assert 'nextclick_gateway_hour_revenue{currency="EUR",recommended="yes",scenario="cart"} 1.2345' in text


async def test_figures_on_metrics_are_read_at_most_every_fifteen_seconds(start: Start, counted: RedisSettings) -> None:
    client = await start()
    await client.get("/metrics")
    admin, keys = connect(counted), Keys(counted.prefix)
    admin.delete(keys.attribution_hours())
    admin.close()
    assert "hour_shown{" in await (await client.get("/metrics")).text()


def test_names_that_are_made_up_have_one_row_together() -> None:
    rows = {("yes", f"scenario-{n}"): Counter(shown=10_000 * n) for n in range(1, 60)}
    found = bounded({**rows})
    assert len(found) == 51
    assert found["yes", "other"]["shown"] == 10_000 * sum(range(1, 10))


async def test_scrapes_at_the_same_moment_share_one_reading(redis_settings: RedisSettings) -> None:
    figures = HourFigures(redis_settings, lambda: 7_200_000)
    await asyncio.gather(*(figures.refresh() for _ in range(10)))
    await figures.refresh()
    assert [family.name for family in figures.collect()] == [f"nextclick_gateway_{name}" for name in (*COUNTS, REVENUE)]
