from __future__ import annotations

import asyncio
import random
import time
from array import array
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from aiohttp import web

from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Topic
from eventlog.open_log import open_async_writer, open_reader
from replay.engine.http_client import HttpClient
from replay.engine.play import Limits, Played, Player, Snapshot
from replay.engine.schedule import Planned
from replay.engine.targets import GatewayTarget, LogTarget
from replay.measure.result import why_invalid
from tests.replay.target_server import Arrivals, target_server


def event(n: int, session: str = "s", item: str = "i") -> dict[str, Any]:
    fields = {"v": 1, "event_id": f"e{n}", "type": "view", "session_id": session, "item_id": item}
    return {**fields, "ts": 1_700_000_000_000 + n}


def planned(n: int, offset_s: float, session: str) -> Planned:
    return Planned(n, offset_s, session, event(n, session))


def evenly(count: int, rate: float, sessions: int) -> Iterator[Planned]:
    return (planned(n, n / rate, f"s{n % sessions}") for n in range(count))


async def play(arrivals: Arrivals, plan: Iterator[Planned], *, give_up_s: float = 30.0, **limits: int) -> Played:
    async with target_server(arrivals) as (http, _):
        return await Player(GatewayTarget(http, give_up_s=give_up_s), limits=Limits(**limits)).play(plan)


async def test_every_event_arrives_once_and_is_counted() -> None:
    arrivals = Arrivals()
    played = await play(arrivals, evenly(500, rate=2000, sessions=50))
    assert sorted(arrivals.ids()) == sorted(f"e{n}" for n in range(500))
    assert (played.accepted, played.rejected.total(), played.failed.total()) == (500, 0, 0)
    assert len(played.timings) == 500


async def test_events_wait_until_they_are_due() -> None:
    arrivals = Arrivals()
    played = await play(arrivals, iter([planned(0, 0.0, "a"), planned(1, 0.3, "b")]))
    _, sent, _ = played.timings.columns()
    assert sent[0] < sent[1]
    assert sent[1] > 0.29


async def test_events_due_together_share_a_request() -> None:
    arrivals = Arrivals()
    await play(arrivals, (planned(n, 0.0, f"s{n}") for n in range(40)), batch=25)
    assert [len(batch) for batch in arrivals.batches] == [25, 15]


async def test_a_session_keeps_its_order_under_load_with_slow_answers() -> None:
    choose = random.Random(7)

    async def slowly(request: web.Request, batch: list[dict[str, Any]]) -> None:
        await asyncio.sleep(choose.random() * 0.02)

    arrivals = Arrivals(before=slowly)
    await play(arrivals, evenly(2000, rate=4000, sessions=20), connections=16, batch=3)
    assert len(arrivals.events) == 2000
    for number, ids in enumerate(arrivals.by_session().values()):
        assert ids == sorted(ids, key=lambda name: int(name[1:])), f"session {number}"


async def test_a_session_that_waits_does_not_hold_up_others() -> None:
    others_are_there = asyncio.Event()

    async def stuck_session(request: web.Request, batch: list[dict[str, Any]]) -> None:
        if batch[0]["session_id"] == "stuck":
            await asyncio.wait_for(others_are_there.wait(), 9)  # a request is given up after ten seconds
        elif len(arrivals.events) + len(batch) == 28:
            others_are_there.set()

    arrivals = Arrivals(before=stuck_session)
    plan = [planned(0, 0.0, "stuck"), *(planned(n, 0.03, f"s{n}") for n in range(2, 30)), planned(1, 0.03, "stuck")]
    played = await play(arrivals, iter(plan), batch=5)
    assert sorted(arrivals.ids()[:28]) == sorted(f"e{n}" for n in range(2, 30))
    assert arrivals.ids()[28:] == ["e0", "e1"]
    assert played.retries == 0


async def test_a_stall_shows_in_the_tail_because_latency_counts_from_the_intended_time() -> None:
    """1,000 requests a second for 4 s; the target answers nothing between second 1 and second 3."""
    loop = asyncio.get_running_loop()
    began: list[float] = []

    async def stall(request: web.Request, batch: list[dict[str, Any]]) -> None:
        if not began:
            began.append(loop.time())
        since = loop.time() - began[0]
        if 1.0 <= since < 3.0:
            await asyncio.sleep(3.0 - since)

    arrivals = Arrivals(before=stall)
    played = await play(arrivals, evenly(4000, rate=1000, sessions=4000), connections=20, batch=1)
    latency = played.timings.latency()
    assert played.accepted == 4000
    assert latency.p99 > 1800
    assert latency.max > 1900
    assert latency.p90 > 1000  # a quarter of the visitors waited for longer
    assert played.timings.service().p90 < latency.p99 / 4  # a tool that counts from the sent time would not see it


async def test_a_503_is_retried_with_the_same_ids_and_nothing_is_lost() -> None:
    refused: list[str] = []

    async def refuse_first(request: web.Request, batch: list[dict[str, Any]]) -> web.StreamResponse | None:
        if len(refused) < 3:
            refused.extend(one["event_id"] for one in batch)
            return web.json_response({"title": "full"}, status=503, headers={"Retry-After": "0"})
        return None

    arrivals = Arrivals(before=refuse_first)
    played = await play(arrivals, evenly(50, rate=500, sessions=5), batch=1)
    assert len(refused) >= 3
    assert sorted(arrivals.ids()) == sorted(f"e{n}" for n in range(50))
    assert (played.accepted, played.failed.total()) == (50, 0)
    assert played.retries >= 3


async def test_a_lost_connection_is_retried_under_the_same_id_even_if_the_event_was_taken() -> None:
    arrivals = Arrivals()
    dropped: list[str] = []

    async def take_and_drop(request: web.Request, batch: list[dict[str, Any]]) -> None:
        if not dropped:
            dropped.extend(one["event_id"] for one in batch)
            arrivals.events.extend(batch)
            assert request.transport is not None
            request.transport.abort()

    arrivals.before = take_and_drop
    played = await play(arrivals, evenly(10, rate=1000, sessions=10), batch=1, connections=1)
    assert arrivals.ids().count(dropped[0]) >= 2
    assert set(arrivals.ids()) == {f"e{n}" for n in range(10)}
    assert (played.accepted, played.retries) == (10, 1)


async def test_events_that_are_never_taken_are_counted_as_failed_after_the_time_limit() -> None:
    async def always_full(request: web.Request, batch: list[dict[str, Any]]) -> web.StreamResponse:
        return web.json_response({"title": "full"}, status=503)

    played = await play(Arrivals(before=always_full), evenly(4, rate=1000, sessions=4), give_up_s=0.4, batch=4)
    assert played.accepted == 0
    assert dict(played.failed) == {"status 503": 4}


async def test_a_target_that_is_not_there_counts_as_failed() -> None:
    async with HttpClient("http://127.0.0.1:1", attempt_s=60.0) as http:
        target = GatewayTarget(http, give_up_s=0.3)
        played = await Player(target).play(evenly(3, rate=1000, sessions=1))
    assert played.failed.total() == 3
    assert list(played.failed) == ["ConnectionRefusedError"]


async def test_a_target_that_has_gone_is_given_up_and_the_rest_counts_as_failed() -> None:
    taken: list[str] = []

    async def goes_away(request: web.Request, batch: list[dict[str, Any]]) -> web.StreamResponse | None:
        if len(taken) >= 20:
            return web.json_response({"title": "down"}, status=503)
        taken.extend(one["event_id"] for one in batch)
        return None

    limits = Limits(connections=2, batch=1, patience_s=0.5)
    async with target_server(Arrivals(before=goes_away)) as (http, _):
        player = Player(GatewayTarget(http, give_up_s=0.3), limits=limits)
        played = await player.play(evenly(2000, rate=100, sessions=2000))
    assert played.accepted == 20
    assert played.abandoned
    assert played.accepted + played.failed.total() == len(played.lag_s) < 2000
    assert any("took nothing for 0.5 s" in reason for reason in why_invalid(played, limits))


async def test_rejected_events_are_counted_by_reason_and_not_sent_again() -> None:
    async def reject(request: web.Request, batch: list[dict[str, Any]]) -> web.StreamResponse:
        rejected = [{"index": n, "reason": "invalid: ts: too old"} for n in range(len(batch))]
        return web.json_response({"accepted": 0, "rejected": rejected, "token": None}, status=202)

    played = await play(Arrivals(before=reject), evenly(5, rate=1000, sessions=5), batch=5)
    assert dict(played.rejected) == {"invalid": 5}
    assert played.retries == 0


async def test_a_client_error_is_not_retried() -> None:
    async def too_large(request: web.Request, batch: list[dict[str, Any]]) -> web.StreamResponse:
        return web.json_response({"title": "too large"}, status=413)

    played = await play(Arrivals(before=too_large), evenly(5, rate=5000, sessions=5), batch=5)
    assert dict(played.failed) == {"status 413": 5}
    assert played.retries == 0


async def test_a_full_waiting_room_holds_the_schedule_back_and_says_so() -> None:
    async def slowly(request: web.Request, batch: list[dict[str, Any]]) -> None:
        await asyncio.sleep(0.02)

    played = await play(Arrivals(before=slowly), evenly(60, rate=1e6, sessions=60), waiting=10, batch=5, connections=1)
    assert played.overflowed
    assert played.accepted == 60


async def test_a_sender_that_cannot_keep_up_calls_its_own_run_invalid() -> None:
    async def hog(request: web.Request, batch: list[dict[str, Any]]) -> None:
        time.sleep(0.05)  # noqa: ASYNC251 - the target shares the sender's loop: this takes the sender's time

    limits = Limits(connections=4, batch=5)
    busy = await play(Arrivals(before=hog), evenly(300, rate=300, sessions=300), connections=4, batch=5)
    assert "the sender was the bottleneck" in why_invalid(busy, limits)[0]


@pytest.mark.parametrize(("late", "invalid"), [(9, 0), (10, 1)])
def test_a_sender_that_was_late_ten_times_and_for_more_than_a_hundredth_is_invalid(late: int, invalid: int) -> None:
    played = Played(accepted=900, lag_s=array("d", [0.021] * late + [0.019] * (900 - late)))
    assert len(why_invalid(played, Limits())) == invalid


async def test_progress_tells_what_is_settled_and_a_stop_ends_the_plan() -> None:
    told: list[Snapshot] = []
    stop = asyncio.Event()

    def on_progress(snapshot: Snapshot) -> None:
        told.append(snapshot)
        if snapshot.accepted >= 50:
            stop.set()

    async with target_server(Arrivals()) as (http, _):
        played = await Player(GatewayTarget(http)).play(
            evenly(100_000, rate=200, sessions=10), progress=on_progress, stop=stop
        )
    assert played.stopped
    assert 50 <= played.accepted < 100_000
    assert (told[-1].accepted, told[-1].waiting, told[-1].in_flight) == (played.accepted, 0, 0)


async def test_the_log_takes_a_schedule_in_session_order(redis_settings: RedisSettings) -> None:
    log = LogSettings(partitions=2)
    writer = open_async_writer(log, redis_settings)
    plan = list(evenly(300, rate=3000, sessions=7))
    impression = {**event(300, "s0"), "type": "impression", "items": ["a"]}
    try:
        played = await Player(LogTarget(writer)).play(iter([*plan, Planned(300, 0.1, "s0", impression)]))
    finally:
        await writer.close()
    assert (played.accepted, played.failed.total()) == (301, 0)
    reader = open_reader(log, redis_settings, Topic.CLICKS, [0, 1], "test")
    try:
        arrivals = Arrivals()
        while batches := reader.poll(1000, 0.1):
            for batch in batches:
                arrivals.events.extend(orjson.loads(message.value) for message in batch.messages)
    finally:
        reader.close()
    assert len(arrivals.events) == 300
    for ids in arrivals.by_session().values():
        assert ids == sorted(ids, key=lambda name: int(name[1:]))
