"""Clicks of long ago at the door: refused alike in every partition, or let in by setting; never by luck."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from contracts.ids import partition_of
from contracts.settings import RedisSettings, SessionSettings
from eventlog.contract import Topic
from gateway.event_age import longest_age_ms
from gateway.settings import GatewayOptions, GatewaySettings
from session_model.fold_arrays import ClickArrays
from tests.gateway.conftest import LOG, Client, Start, event
from tests.gateway.test_events import logged

NOW_MS = 1_790_000_000_000
MINUTE_MS = 60_000
ONE_OF_EACH = {partition_of(f"s-{n}", LOG.partitions): f"s-{n}" for n in range(40)}
"""A session for each partition."""


def click(event_id: str, session: str, age_ms: int, **more: Any) -> dict[str, Any]:
    return event(event_id, session, ts=NOW_MS - age_ms, **more)


@pytest.fixture
async def door(start: Start) -> Client:
    return await start(clock=lambda: NOW_MS)


async def test_a_click_an_hour_old_is_refused_whatever_its_partition_has(
    door: Client, redis_settings: RedisSettings
) -> None:
    newer = ONE_OF_EACH[1]
    await door.post("/api/events", json=click("new", newer, 0))

    answer = await door.post("/api/events", json=[click(f"old-{p}", s, 3_600_000) for p, s in ONE_OF_EACH.items()])

    told = await answer.json()
    assert (answer.status, told["accepted"], told["token"]) == (202, 0, None)
    assert [one["index"] for one in told["rejected"]] == [0, 1, 2, 3]
    reasons = {one["reason"] for one in told["rejected"]}
    [reason] = reasons
    assert reason.startswith("too_old: ts is 3,600 s behind the server's clock, the limit is 1,500 s")
    assert [document["event_id"] for document in logged(redis_settings, Topic.CLICKS)] == ["new"]


@pytest.mark.parametrize("open_fields", [{}, {"campaign": "spring"}], ids=["plain", "of another shape"])
async def test_the_limit_is_twenty_five_minutes_to_the_millisecond(door: Client, open_fields: dict[str, str]) -> None:
    events = [click(f"e{age}", "s", age, **open_fields) for age in (0, 25 * MINUTE_MS, 25 * MINUTE_MS + 1)]

    told = await (await door.post("/api/events", json=events)).json()

    assert (told["accepted"], [one["index"] for one in told["rejected"]]) == (2, [2])


async def test_pages_that_were_shown_long_ago_are_taken(door: Client, redis_settings: RedisSettings) -> None:
    shown = {**click("e-1", "s", 3_600_000), "type": "impression", "items": ["shoe-1", "shoe-2"]}
    del shown["item_id"]

    told = await (await door.post("/api/events", json=[shown, click("e-2", "s", 3_600_000)])).json()

    assert (told["accepted"], [one["index"] for one in told["rejected"]]) == (1, [1])
    assert [document["event_id"] for document in logged(redis_settings, Topic.IMPRESSIONS)] == ["e-1"]


async def test_by_setting_history_is_let_in(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(clock=lambda: NOW_MS, max_age=timedelta(days=3650))

    told = await (await client.post("/api/events", json=click("e-1", "s", 365 * 86_400_000))).json()

    assert (told["accepted"], told["rejected"]) == (1, [])


@pytest.mark.parametrize(
    ("gap", "max_age", "expected_ms"),
    [
        (timedelta(minutes=30), None, 25 * MINUTE_MS),
        (timedelta(hours=2), None, 115 * MINUTE_MS),
        (timedelta(minutes=6), None, 3 * MINUTE_MS),
        (timedelta(minutes=30), timedelta(0), 0),
        (timedelta(minutes=30), timedelta(days=1), 1440 * MINUTE_MS),
    ],
)
def test_how_old_a_click_may_be(gap: timedelta, max_age: timedelta | None, expected_ms: int) -> None:
    settings = GatewaySettings(session=SessionSettings(idle_gap=gap), gateway=GatewayOptions(max_age=max_age))
    assert longest_age_ms(settings) == expected_ms


def test_a_click_that_is_taken_is_never_late_even_behind_a_clock_that_is_ahead() -> None:
    gap_ms = SessionSettings().idle_gap_ms
    ahead_ms, oldest_ms = NOW_MS + 300_000, NOW_MS - longest_age_ms(GatewaySettings())
    clicks = [(0, "a", "", ahead_ms, 1, 1, 1), (1, "b", "", oldest_ms, 1, 2, 1)]

    watermarks, _ = ClickArrays.of([clicks]).watermarks([0], NOW_MS + 300_000)

    assert oldest_ms >= watermarks[1] - gap_ms
