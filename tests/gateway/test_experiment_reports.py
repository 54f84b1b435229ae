"""What the judge said of experiments, as gateways hand it on; and metrics that it can count."""

from __future__ import annotations

import pytest

from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import connect
from tests.gateway.conftest import Client
from tests.gateway.test_experiments import put, refused, whole

pytestmark = pytest.mark.usefixtures("streams")


async def test_without_a_report_there_is_none(client: Client) -> None:
    await put(client, "x")
    found = await (await client.get("/api/experiments/x")).json()
    assert (found["report"], found["verdict"], found["decision"]) == (None, None, None)


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"at_ms": 1e999}', b'{"verdict": "ship"}', b"[" * 10_000])
async def test_what_is_no_report_is_none_and_said(
    client: Client, redis_settings: RedisSettings, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await put(client, "x")
    redis, keys = connect(redis_settings), Keys(redis_settings.prefix)
    redis.set(keys.experiment_report("x"), raw)
    redis.hset(keys.experiment_decisions(), "x", raw)
    for path in ("/api/experiments/x", "/api/experiments"):
        answer = await client.get(path)
        assert answer.status == 200
        found = await answer.json()
        assert (found["experiments"][0] if "experiments" in found else found)["decision"] is None
    assert "the report of the experiment x is left out: expected a report, got" in caplog.text
    redis.delete(keys.experiment_report("x"), keys.experiment_decisions())
    redis.rpush(keys.experiment_report("x"), "a list")
    redis.rpush(keys.experiment_decisions(), "a list")
    redis.close()
    assert (await (await client.get("/api/experiments/x")).json())["report"] is None
    assert (await client.get("/api/experiments")).status == 200


async def test_metrics_are_of_what_is_counted_of_units(client: Client) -> None:
    counted = "expected one of pages, shown, clicks, carts, purchases, orders, revenue, or one divided by another such"
    wrong = await refused(client, whole(metric="margin", guardrails=["orders", "clicks/clicks", "orders"]))
    assert {pointer: detail[: len(counted)] for pointer, detail in wrong.items()} == {
        "/metric": counted,
        "/guardrails/1": counted,
        "/guardrails/2": "expected each metric once, got 'orders' again",
    }
    for metric in ("clicks/shown", "revenue", "revenue/orders"):
        await put(client, "x", whole(metric=metric, guardrails=["pages"]))


async def test_who_decides_may_name_the_version_and_say_that_it_is_a_program(client: Client) -> None:
    await put(client, "x")
    answer = await client.post("/api/experiments/x/stop", json={"version": 2, "by": "judge"})
    assert (answer.status, (await answer.json())["detail"]) == (409, "expected version 2 of 'x', got 1: look again")
    answer = await client.post("/api/experiments/x/stop", json={"version": 1, "by": "judge"})
    assert answer.status == 200
    assert (await (await client.get("/api/experiments/x")).json())["by"] == "judge"
