"""The judge beside a real gateway: it promotes and stops what it should, once, and says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contracts.clock import wall_clock_ms
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings, ServiceSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from judge.action import Action
from judge.gateway import Gateway, NotDone
from judge.looks import Acts, Looks
from judge.own_key import own_key
from judge.published import Published
from judge.sources import StoredSources
from state.audit import ADMIN, AuditLog
from state.client import connect
from state.experiment_reports import ReportStore
from tests.gateway.api_keys import bearer, known, make_key
from tests.gateway.conftest import LOG, Client, Start
from tests.gateway.test_experiments import put
from tests.gateway.test_scenarios import stock_up
from tests.judge.planted import HALF, plant

pytestmark = pytest.mark.usefixtures("streams")
WINNER = {**HALF, "promote_winner": True, "minimum_days": 0}
Judge = Callable[..., Looks]


@pytest.fixture
def judge(redis_settings: RedisSettings) -> Iterator[Judge]:
    """Start judges, as their process does: `judge(client)`; `gateway` acts in place of the real one."""
    opened: list[Any] = []

    def start_one(client: Client, gateway: Acts | None = None) -> Looks:
        settings = ServiceSettings(redis=redis_settings, log=LOG)
        parts = (
            Published(redis_settings),
            StoredSources(settings),
            ReportStore(redis_settings),
            AuditLog(redis_settings),
        )
        opened.extend(parts)
        acts = gateway or acting(client, redis_settings)
        times: dict[str, Any] = {"every_s": 0.0, "max_lag_s": 60.0, "after_ms": 0, "clock_ms": wall_clock_ms}
        return Looks(*parts, acts, **times)

    yield start_one
    for part in opened:
        part.close()


def acting(client: Client, redis: RedisSettings) -> Gateway:
    return Gateway(str(client.make_url("/")), "", lambda: own_key(redis, wall_clock_ms))


class Died(BaseException):
    """What no process survives."""


async def look(judge: Looks) -> None:
    await asyncio.to_thread(judge.look)


async def read(client: Client, path: str, **headers: Any) -> dict[str, Any]:
    answer = await client.get(path, **headers)
    assert answer.status == 200, await answer.text()
    found: dict[str, Any] = await answer.json()
    return found


def told(redis: RedisSettings) -> list[tuple[str, str, str]]:
    log = AuditLog(redis)
    try:
        return [(entry.who, entry.what, entry.outcome[:30]) for entry in log.newest(ADMIN)]
    finally:
        log.close()


async def test_a_winner_is_promoted_once_and_told_once(
    start: Start, judge: Judge, redis_settings: RedisSettings
) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x", WINNER)
    plant(redis_settings, "x", 400)
    for _ in range(2):
        one = judge(client)  # one that died and started again
        await look(one)
        await look(one)
    found = await read(client, "/api/experiments/x")
    assert (found["state"], found["promoted"], found["version"], found["by"]) == ("stopped", "b", 2, "judge")
    assert found["why"].startswith("Ship b: clicks/pages rises by 200.0% [")
    assert (await read(client, "/api/scenarios/homepage"))["scenario"] == {"bury": ["shoe-1"]}
    assert (await read(client, "/api/scenarios/homepage"))["version"] == 1
    assert told(redis_settings) == [("judge", "experiment x, version 2: promoted b", "Ship b: clicks/pages rises by ")]
    report = found["report"]
    assert (report["verdict"], report["experiment_version"], report["held"], report["lag_s"]) == ("ship", 1, None, 0.0)
    assert report["units"] == {"control": 400, "b": 400}
    assert report["figures"]["b"] == {
        **{"pages": 1600, "shown": 12800, "clicks": 600, "carts": 0, "orders": 200, "revenue": 0}
    }
    assert report["sample_ratio"]["p"] == 1.0
    assert set(report["segments"]["device"]) == {"phone", "desktop"}
    listed = await read(client, "/api/experiments")
    assert [(one["verdict"], one["decision"] == found["why"]) for one in listed["experiments"]] == [("ship", True)]


async def test_a_broken_guardrail_stops_an_experiment_and_is_told_once(
    start: Start, judge: Judge, redis_settings: RedisSettings
) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x", {**WINNER, "guardrails": ["orders"]})
    plant(redis_settings, "x", 400, orders=lambda n: int(n % 8 == 0))
    for _ in range(2):
        await look(judge(client))
    found = await read(client, "/api/experiments/x")
    assert (found["state"], found["promoted"], found["by"]) == ("stopped", None, "judge")
    assert found["why"].startswith("Stop b: guardrail orders falls by 75.0% [")
    assert (await read(client, "/api/scenarios/homepage"))["version"] == 0
    assert told(redis_settings) == [("judge", "experiment x, version 2: stopped", "Stop b: guardrail orders falls")]


async def test_a_judge_that_dies_before_it_tells_tells_when_it_starts_again(
    start: Start, judge: Judge, redis_settings: RedisSettings
) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x", WINNER)
    plant(redis_settings, "x", 400)

    class Dies:
        def do(self, name: str, version: int, action: Action) -> None:
            acting(client, redis_settings).do(name, version, action)
            raise Died

    with pytest.raises(Died):
        await look(judge(client, Dies()))
    assert told(redis_settings) == []
    await look(judge(client))
    await look(judge(client))
    assert [what for _, what, _ in told(redis_settings)] == ["experiment x, version 2: promoted b"]
    assert (await read(client, "/api/scenarios/homepage"))["version"] == 1


async def test_of_two_judges_that_run_at_once_one_promotes_and_each_line_is_told_once(
    start: Start, judge: Judge, redis_settings: RedisSettings
) -> None:
    client = await start()
    await stock_up(client)
    one, other = judge(client), judge(client)
    for n, acts in enumerate((one, other, one, other)):
        await put(client, f"x{n}", WINNER)
        plant(redis_settings, f"x{n}", 400)
        await look(acts)
        await look(one)
        await look(other)
    assert (await read(client, "/api/scenarios/homepage"))["version"] == 4
    lines = sorted(what for _, what, _ in told(redis_settings))
    assert lines == [f"experiment x{n}, version 2: promoted b" for n in range(4)]


async def test_an_audit_log_that_takes_no_line_keeps_no_experiment_from_being_judged(
    start: Start, judge: Judge, redis_settings: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    client, redis = await start(), connect(redis_settings)
    await stock_up(client)
    one, key = judge(client), Keys(redis_settings.prefix).audit(ADMIN)
    redis.set(key, b"something else")
    for name in ("x", "y"):
        await put(client, name, WINNER)
        plant(redis_settings, name, 400)
        await look(one)
        assert (await read(client, f"/api/experiments/{name}"))["promoted"] == "b"
    assert sum("telling what was done" in line for line in caplog.messages) == 1
    redis.unlink(key)
    await look(one)
    await look(one)
    assert [what for _, what, _ in told(redis_settings)] == [
        f"experiment {name}, version 2: promoted b" for name in ("y", "x")
    ]
    redis.close()


async def test_where_keys_are_asked_the_judge_makes_its_own(
    start: Start, judge: Judge, redis_settings: RedisSettings
) -> None:
    client = await start(keys="required")
    key = make_key(redis_settings, "catalogue")
    await known(client, key)
    mine = {"headers": bearer(key.text)}
    assert (await client.put("/api/experiments/x", json=WINNER, **mine)).status == 200
    plant(redis_settings, "x", 400)
    await look(judge(client))
    found = await read(client, "/api/experiments/x", **mine)
    assert (found["promoted"], found["by"][:11]) == ("b", "judge, key ")
    assert [who for who, _, _ in told(redis_settings)] == ["judge"]


async def test_nothing_is_done_on_figures_that_are_behind_the_log(
    start: Start, judge: Judge, redis_settings: RedisSettings
) -> None:
    client = await start()
    await put(client, "x", WINNER)
    plant(redis_settings, "x", 400)
    writer = open_writer(LogSettings(partitions=LOG.partitions), redis_settings)
    writer.append(Topic.IMPRESSIONS, [Record("s", b"{}")])
    writer.close()
    await look(judge(client))
    found = await read(client, "/api/experiments/x")
    assert (found["state"], found["verdict"], found["report"]["lag_s"]) == ("running", "ship", None)
    assert found["report"]["held"] == "it is not known how far the figures are behind the log"


async def test_a_version_that_was_published_since_the_report_is_left_alone(
    start: Start, judge: Judge, redis_settings: RedisSettings
) -> None:
    client = await start()
    await put(client, "x", WINNER)
    plant(redis_settings, "x", 400)
    published = Published(redis_settings)
    [old] = published.all()
    published.close()
    await put(client, "x", {**WINNER, "description": "another"})
    await asyncio.to_thread(judge(client)._look_at, old, 0.0)
    found = await read(client, "/api/experiments/x")
    assert (found["state"], found["version"]) == ("running", 2)
    assert found["report"]["held"] == (
        "it could not be done: POST /api/experiments/x/promote: expected a 2xx answer, got 409: "
        "expected version 1 of 'x', got 2: look again"
    )
    assert told(redis_settings) == []


async def test_a_run_that_begins_anew_is_judged_by_its_own_units(
    start: Start, judge: Judge, redis_settings: RedisSettings
) -> None:
    client = await start()
    await put(client, "x", WINNER)
    plant(redis_settings, "x", 400)
    await asyncio.sleep(0.002)
    await client.post("/api/experiments/x/stop", json={"why": "mended"})
    await put(client, "x", WINNER)
    await look(judge(client))
    found = await read(client, "/api/experiments/x")
    assert (found["state"], found["report"]["units"]) == ("running", {"control": 0, "b": 0})
    assert found["decision"] == "Wait: control has too few units (0 units, needs 200)."


async def test_a_report_of_a_deleted_experiment_goes(start: Start, judge: Judge, redis_settings: RedisSettings) -> None:
    client = await start()
    await put(client, "x")
    one, reports = judge(client), ReportStore(redis_settings)
    await look(one)
    assert set(reports.decisions()) == {"x"}
    await client.delete("/api/experiments/x")
    await look(one)
    assert (reports.decisions(), reports.report("x")) == ({}, None)
    reports.close()


def test_a_gateway_that_is_away_is_said() -> None:
    away = Gateway("http://127.0.0.1:9", "", lambda: "")
    with pytest.raises(NotDone, match=r"expected a gateway at http://127.0.0.1:9, got Conn.*JUDGE__GATEWAY"):
        away.do("x", 1, Action("stop", "", "why"))
