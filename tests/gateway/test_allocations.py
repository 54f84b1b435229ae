"""Bandits and interleaving over HTTP: who gets what follows shares that the judge wrote, and mixed pages say whose."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from attribution.facts import Page, fact_of
from contracts.assignment import drawn, mask_of
from contracts.bandit_shares import BanditShares, encode_shares
from contracts.experiments import Experiment, ExperimentVersion
from contracts.keys import Keys
from contracts.plain_events import PlainEvent, check_event
from contracts.settings import RedisSettings
from eventlog.contract import Topic
from gateway.background import running
from gateway.bandits import follow_shares
from gateway.experiments import Experiments, row_key_of
from gateway.scenarios import Scenarios
from state.bandit_shares import SharesWriter
from state.client import connect
from tests.gateway.conftest import Client, Start
from tests.gateway.test_events import logged
from tests.gateway.test_experiments import BANDIT, put, variants, whole
from tests.gateway.test_scenarios import ask, publish, shown, stock_up

pytestmark = pytest.mark.usefixtures("streams")

MIXED = {
    "scenario": "homepage",
    "variants": [{"name": "control", "share": 0.5}, {"name": "b", "share": 0.5, "patch": {"bury": ["shoe-1"]}}],
    "allocation": {"kind": "interleaving"},
}


async def say(client: Client, redis: RedisSettings, cells: dict[str, tuple[float, ...]], name: str = "x") -> None:
    """Write shares as the judge does."""
    found = await (await client.get(f"/api/experiments/{name}")).json()
    names = tuple(one["name"] for one in found["experiment"]["variants"])
    writer = SharesWriter(redis)
    writer.write(name, encode_shares(BanditShares(found["started_ms"], 1, names, cells)))
    writer.close()


async def until_drawn_by(client: Client, share: float, **question: Any) -> None:
    """Wait until the control is drawn by a share: who is of it by the smallest gets it by every other."""
    unit = next(f"w{number}" for number in range(1000) if drawn("x", f"w{number}", (0.05, 0.95)) == 0)
    until = time.monotonic() + 20
    while (answer := await ask(client, "homepage", session_id=unit, limit=1, **question))["propensity"] != share:
        assert time.monotonic() < until, answer
        await asyncio.sleep(0.1)
    assert answer["variant"] == "control"


async def test_a_bandit_begins_with_the_shares_of_its_document(start: Start) -> None:
    client = await start()
    await stock_up(client)
    small = [{"name": "control", "share": 0.3}, {"name": "b", "share": 0.1, "patch": {"bury": ["shoe-1"]}}]
    await put(client, "x", whole(variants=small, allocation=BANDIT))
    answers = [await ask(client, "homepage", session_id=f"s{n}", limit=1) for n in range(24)]
    found = {(one["variant"], one["propensity"]) for one in answers}
    assert found == {("control", 0.75), ("b", 0.25), (None, None)}


async def test_the_better_variant_gets_most_within_seconds_in_every_process(
    start: Start, redis_settings: RedisSettings
) -> None:
    one, other = await start(), await start()
    await stock_up(one)
    await put(one, "x", whole(allocation=BANDIT))
    before = await variants(one, 30)
    assert 8 < list(before.values()).count("b") < 22
    await say(one, redis_settings, {"": (0.05, 0.95)})
    await until_drawn_by(one, 0.05)
    await until_drawn_by(other, 0.05)
    first, second = await variants(one, 30), await variants(other, 30)
    assert first == second
    assert list(first.values()).count("b") >= 26
    assert all(first[name] == "b" for name, variant in before.items() if variant == "b")
    answer = await ask(one, "homepage", session_id=next(iter(first)), limit=1)
    assert answer["propensity"] == {"control": 0.05, "b": 0.95}[answer["variant"]]
    found = await (await other.get("/api/experiments/x")).json()
    assert found["shares"] == {"": {"control": 0.05, "b": 0.95}}


@pytest.mark.slow
async def test_shares_stay_while_redis_says_nothing_of_them_and_go_with_the_run(
    start: Start, redis_settings: RedisSettings
) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x", whole(allocation=BANDIT))
    await say(client, redis_settings, {"": (0.1, 0.9)})
    await until_drawn_by(client, 0.1)
    with connect(redis_settings) as redis:
        redis.set(Keys(redis_settings.prefix).bandit_shares("x"), b'{"cells": 1}')
    await put(client, "x", whole(allocation={**BANDIT, "floor": 0.02}))
    await asyncio.sleep(2.2)
    await until_drawn_by(client, 0.1)
    await client.post("/api/experiments/x/stop", json={})
    await put(client, "x", whole(allocation=BANDIT))
    await until_drawn_by(client, 0.5)


async def test_a_bandit_with_context_draws_by_the_visitors_cell(start: Start, redis_settings: RedisSettings) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x", whole(allocation={**BANDIT, "context": ["device"]}))
    await say(client, redis_settings, {"": (0.5, 0.5), "phone": (0.05, 0.95), "desktop": (0.95, 0.05)})
    await until_drawn_by(client, 0.05, context={"device": "Phone"})
    phones = await variants(client, 20, context={"device": "phone"})
    desktops = await variants(client, 20, context={"device": "desktop"})
    assert list(phones.values()).count("b") >= 16
    assert list(desktops.values()).count("control") >= 16
    answer = await ask(client, "homepage", session_id="s", limit=1, context={"device": "tv"})
    assert answer["propensity"] == 0.5


async def test_what_was_shown_is_logged_with_its_propensity(start: Start, redis_settings: RedisSettings) -> None:
    client = await start()
    await stock_up(client)
    small = [{"name": "control", "share": 0.3}, {"name": "b", "share": 0.1, "patch": {"bury": ["shoe-1"]}}]
    await put(client, "x", whole(variants=small, overrides={"tester": "b"}))
    answers = [await ask(client, "homepage", session_id=f"s{n}", limit=1) for n in range(12)]
    answers.append(await ask(client, "homepage", session_id="tester", limit=1))
    assert (answers[-1]["variant"], answers[-1]["propensity"]) == ("b", None)
    pages = await pages_of(redis_settings, len(answers))
    for answer in answers:
        assert pages[answer["request_id"]].propensity == answer["propensity"]
        assert answer["propensity"] in ({"control": 0.75, "b": 0.25}.get(answer["variant"]), None)


async def pages_of(redis: RedisSettings, count: int) -> dict[str, Page]:
    """Return the pages that were logged, once there are so many."""
    until = time.monotonic() + 20
    while True:
        events = [check_event(one, now_ms=4_000_000_000_000) for one in logged(redis, Topic.IMPRESSIONS)]
        facts = [fact_of(one) for one in events if isinstance(one, PlainEvent)]
        found = {one.what.page_id: one.what for one in facts if one is not None and isinstance(one.what, Page)}
        if len(found) >= count:
            return found
        assert time.monotonic() < until, found
        await asyncio.sleep(0.05)


async def test_an_interleaved_page_has_items_of_both_variants_and_none_twice(
    start: Start, redis_settings: RedisSettings
) -> None:
    client = await start()
    await stock_up(client)
    for name, item_id in (("first", "shoe-2"), ("second", "shoe-3")):
        await publish(client, name, {"base": "homepage", "pins": [{"item_id": item_id, "position": 1}]})
    pair = [{"name": "control", "share": 0.5, "scenario": "first"}, {"name": "b", "share": 0.5, "scenario": "second"}]
    await put(client, "x", {**MIXED, "variants": pair})
    answers = [await ask(client, "homepage", session_id=f"s{n}", limit=4) for n in range(10)]
    pages = await pages_of(redis_settings, len(answers))
    for answer in answers:
        items, page = shown(answer), pages[answer["request_id"]]
        assert (answer["experiment_id"], answer["variant"], answer["propensity"]) == ("x", "interleaved", None)
        assert len(set(items)) == len(items) == 4
        assert set(items[:2]) == {"shoe-2", "shoe-3"}
        assert (page.dims.variant, page.between) == ("interleaved", ("control", "b"))
        assert sorted(page.teams) == [0, 0, 1, 1]
        assert page.teams[items.index("shoe-3")] == 1
        assert [one["position"] for one in answer["recommendations"]] == [1, 2, 3, 4]
    assert Counter(shown(answer)[0] for answer in answers).keys() == {"shoe-2", "shoe-3"}


async def test_an_interleaved_list_goes_on_without_an_item_twice(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x", MIXED)
    first = await ask(client, "homepage", limit=3)
    then = await ask(client, "homepage", limit=3, cursor=first["cursor"])
    assert (first["variant"], then["variant"]) == ("interleaved", "interleaved")
    assert len({*shown(first), *shown(then)}) == 6


async def test_lists_of_a_page_and_testers_are_not_interleaved(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x", {**MIXED, "overrides": {"tester": "b"}})
    assert (await ask(client, "homepage", session_id="tester", limit=1))["variant"] == "b"
    lists = [{"scenario": "homepage", "limit": 2}, {"scenario": "cart", "limit": 2}]
    answer = await client.post("/api/pages", json={"session_id": "s1", "lists": lists})
    assert [one["variant"] for one in (await answer.json())["lists"]] == [None, None]


class _Counted:
    """Stands where Redis is asked for shares, and counts."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []
        self.was_asked = asyncio.Event()

    async def read(self, names: Sequence[str]) -> list[bytes | None]:
        self.asked.append(names)
        self.was_asked.set()
        return [None for _ in names]


async def test_shares_are_asked_for_only_while_a_bandit_runs() -> None:
    experiments, reader = Experiments(Scenarios()), _Counted()

    def version(name: str, **fields: Any) -> tuple[int, ExperimentVersion]:
        experiment = Experiment.model_validate(whole(**fields))
        found = ExperimentVersion(
            name=name, version=1, published_ms=1, started_ms=1, experiment=experiment, buckets={"b": mask_of({1})}
        )
        return row_key_of(name), found

    experiments.take([version("fixed"), version("over", allocation=BANDIT, end="2001-01-01T00:00:00Z")])
    async with running(follow_shares(experiments, reader, lambda: 1_700_000_000_000, every_s=0.001)):
        await asyncio.sleep(0.1)
        assert reader.asked == []
        experiments.take([version("x", allocation=BANDIT)])
        async with asyncio.timeout(10):
            await reader.was_asked.wait()
    assert reader.asked[0] == ["x"]
