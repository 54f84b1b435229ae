"""Experiments over HTTP: who gets which variant, on every process at once, and what is refused."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from contracts.assignment import mask_of
from contracts.experiment_rows import document_name, row_key_of
from contracts.experiments import Experiment, ExperimentVersion
from contracts.keys import SCENARIOS, Keys
from contracts.settings import RedisSettings
from eventlog.contract import Topic
from gateway.experiments import Experiments, _segment
from gateway.keys import TURN
from gateway.scenarios import Scenarios
from state.client import connect
from tests.gateway.conftest import Client, Start, problem
from tests.gateway.test_events import logged
from tests.gateway.test_scenarios import ask, publish, shown, stock_up

pytestmark = pytest.mark.usefixtures("streams")

HALF = {
    "scenario": "homepage",
    "variants": [{"name": "control", "share": 0.5}, {"name": "b", "share": 0.5, "patch": {"bury": ["shoe-1"]}}],
}


async def put(client: Client, name: str, document: dict[str, Any] = HALF) -> dict[str, Any]:
    answer = await client.put(f"/api/experiments/{name}", json=document)
    assert answer.status == 200, await answer.text()
    done: dict[str, Any] = await answer.json()
    return done


async def refused(client: Client, document: dict[str, Any], status: int = 422) -> dict[str, str]:
    """Return what is wrong with a document, by pointer; nothing of it is published."""
    answer = await client.put("/api/experiments/wrong", json=document)
    found = await problem(answer, status)
    assert (await client.get("/api/experiments/wrong")).status == 404
    return {one["pointer"]: one["detail"] for one in found["errors"]}


def whole(**fields: Any) -> dict[str, Any]:
    return {**HALF, **fields}


async def variants(client: Client, count: int, name: str = "homepage", **question: Any) -> dict[str, str | None]:
    asked = [f"s{n}" for n in range(count)]
    return {one: (await ask(client, name, session_id=one, **question))["variant"] for one in asked}


async def test_each_session_keeps_its_variant_in_every_process(start: Start) -> None:
    one, other = await start(), await start()
    await stock_up(one)
    assert await put(one, "bury-one") == {"name": "bury-one", "version": 1, "visible": True}
    first, second = await variants(one, 60), await variants(other, 60)
    assert first == second
    assert set(first.values()) == {"control", "b"}
    answers = {name: await ask(one, "homepage", session_id=name, limit=8) for name in first}
    for session_id, answer in answers.items():
        assert answer["experiment_id"] == "bury-one"
        assert (shown(answer)[-1] == "shoe-1") is (first[session_id] == "b") or first[session_id] == "control"


async def test_without_an_experiment_an_answer_names_none(start: Start) -> None:
    client = await start()
    await stock_up(client)
    answer = await ask(client, "homepage")
    assert (answer["experiment_id"], answer["variant"]) == (None, None)


async def test_a_variant_may_be_another_scenario_or_an_older_version_of_it(start: Start) -> None:
    client = await start()
    await stock_up(client)
    for item_id in ("shoe-1", "shoe-2"):
        await publish(client, "deals", {"base": "homepage", "filter": f'item_id == "{item_id}"'})
    old = {"name": "old", "share": 0.3, "scenario": "deals", "version": 1}
    new = {"name": "new", "share": 0.3, "scenario": "deals"}
    document = {"scenario": "homepage", "variants": [{"name": "control", "share": 0.4}, old, new]}
    await put(client, "three", document)
    pages: dict[str, set[tuple[str, ...]]] = {}
    for n in range(40):
        answer = await ask(client, "homepage", session_id=f"s{n}", limit=5)
        pages.setdefault(answer["variant"], set()).add(tuple(shown(answer)))
        if answer["variant"] != "control":
            assert answer["scenario"] == {"name": "deals", "version": 1 if answer["variant"] == "old" else 2}
    assert pages["old"] == {("shoe-1",)}
    assert pages["new"] == {("shoe-2",)}
    assert {len(page) for page in pages["control"]} == {5}


async def test_a_page_that_is_continued_stays_in_its_variant(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await publish(client, "deals", {"base": "homepage", "fallback": ["newest"]})
    variant = {"name": "b", "share": 0.999, "scenario": "deals"}
    await put(client, "x", {"scenario": "homepage", "variants": [{"name": "control", "share": 0.001}, variant]})
    first = await ask(client, "homepage", limit=3)
    then = await ask(client, "homepage", limit=3, cursor=first["cursor"])
    assert (first["variant"], then["variant"]) == ("b", "b")
    assert not set(shown(first)) & set(shown(then))


async def test_users_are_the_unit_where_that_is_asked(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "users", whole(unit="user"))
    assert set((await variants(client, 10)).values()) == {None}
    by_user = [await variants(client, 5, user_id=f"u{n}") for n in range(12)]
    assert [len(set(one.values())) for one in by_user] == [1] * 12
    assert {one["s0"] for one in by_user} == {"control", "b"}


async def test_only_requests_of_the_segment_take_part(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "phones", whole(segment='context.device == "phone" and context.age >= 18'))
    assert None not in (await variants(client, 5, context={"device": "phone", "age": 30})).values()
    assert set((await variants(client, 5, context={"device": "desktop", "age": 30})).values()) == {None}
    assert set((await variants(client, 5)).values()) == {None}


async def test_testers_get_the_variant_they_are_given(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x", whole(overrides={f"s{n}": "b" for n in range(10)}))
    assert set((await variants(client, 10)).values()) == {"b"}


async def test_experiments_of_one_layer_share_no_session(start: Start) -> None:
    client = await start()
    await stock_up(client)
    small = [{"name": "control", "share": 0.25}, {"name": "b", "share": 0.25, "patch": {"bury": ["shoe-2"]}}]
    await put(client, "one", {"scenario": "homepage", "variants": small})
    await put(client, "two", {"scenario": "homepage", "variants": small})
    found = Counter([(await ask(client, "homepage", session_id=f"s{n}"))["experiment_id"] for n in range(60)])
    assert set(found) == {"one", "two"}
    assert await refused(client, {"scenario": "homepage", "variants": small}) == {
        "/variants/0/share": "expected a share of at most 0 (0%), which is what other experiments of the layer leave, "
        "got 0.25 (25%): make it smaller, stop another, or name another `layer` "
        "(not where another runs on the same scenario)"
    }
    assert await refused(client, {"scenario": "homepage", "variants": small, "layer": "own"}) == {
        "/layer": "expected no `layer`, as 'one', which runs on 'homepage' too, got 'own': a request can be part of "
        "one experiment only"
    }


async def test_each_wrong_field_of_a_patch_is_named_at_its_place_with_what_was_meant(start: Start) -> None:
    client = await start()
    patch = {"boots": [], "diversity": 3, "pins": [{"item": "shoe-1", "position": 1}]}
    variants = [{"name": "control", "share": 0.5}, {"name": "b", "share": 0.5, "patch": patch}]
    wrong = await refused(client, {"scenario": "homepage", "variants": variants})
    assert wrong["/variants/1/patch/boots"] == "Extra inputs are not permitted: did you mean boosts?"
    assert wrong["/variants/1/patch/diversity"] == "Input should be less than or equal to 1"
    assert wrong["/variants/1/patch/pins/0/item"] == "Extra inputs are not permitted: did you mean item_id?"
    assert not [detail for detail in wrong.values() if "pydantic" in detail]


async def test_a_variant_that_grows_keeps_its_sessions(start: Start) -> None:
    client = await start()
    await stock_up(client)

    def shares(control: float, other: float) -> dict[str, Any]:
        return whole(
            variants=[
                {"name": "control", "share": control},
                {"name": "b", "share": other, "patch": {"bury": ["shoe-1"]}},
            ]
        )

    await put(client, "x", shares(0.1, 0.1))
    before = await variants(client, 80)
    assert (await put(client, "x", shares(0.5, 0.4)))["version"] == 2
    after = await variants(client, 80)
    assert {before[one] for one in before} == {"control", "b", None}
    assert all(after[one] == variant for one, variant in before.items() if variant is not None)
    assert list(after.values()).count(None) < list(before.values()).count(None)


async def test_a_variant_keeps_its_sessions_when_a_process_that_is_behind_takes_the_next_write(start: Start) -> None:
    one, other = await start(), await start()
    await stock_up(one)
    small = [{"name": "control", "share": 0.2}, {"name": "b", "share": 0.2, "patch": {"bury": ["shoe-1"]}}]
    large = [{"name": "b", "share": 0.4, "patch": {"bury": ["shoe-1"]}}, {"name": "control", "share": 0.4}]
    async with other.app[TURN]:  # it follows no table meanwhile
        await put(one, "x", {"scenario": "homepage", "variants": small})
        before = {name: variant for name, variant in (await variants(one, 60)).items() if variant is not None}
        writing = asyncio.create_task(put(other, "x", {"scenario": "homepage", "variants": large}))
        await asyncio.sleep(0.2)
    assert await writing == {"name": "x", "version": 2, "visible": True}
    after = await variants(other, 60)
    assert {name: after[name] for name in before} == before


async def test_the_holdout_is_told_and_gets_the_scenario_as_it_is(start: Start) -> None:
    client = await start()
    await stock_up(client)
    variant = {"name": "b", "share": 0.4, "patch": {"filter": 'item_id == "shoe-1"', "fallback": []}}
    document = whole(variants=[{"name": "control", "share": 0.1}, variant], holdout=0.5)
    await put(client, "x", document)
    answers = [await ask(client, "homepage", session_id=f"s{n}", limit=5) for n in range(40)]
    held = [answer for answer in answers if answer["variant"] == "holdout"]
    assert 10 < len(held) < 30
    assert {len(answer["recommendations"]) for answer in held} == {5}


async def test_a_stopped_experiment_assigns_nobody_in_any_process(start: Start) -> None:
    one, other = await start(), await start()
    await stock_up(one)
    await put(one, "x")
    answer = await one.post("/api/experiments/x/stop", json={"why": "broken picture"})
    assert await answer.json() == {"name": "x", "version": 2, "visible": True}
    assert set((await variants(other, 5)).values()) == {None}
    found = await (await other.get("/api/experiments/x")).json()
    assert (found["state"], found["why"], found["experiment"]) == ("stopped", "broken picture", HALF)


async def test_a_promoted_variant_is_the_scenario_and_can_be_taken_back(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await publish(client, "homepage", {"filter": "price > 0"})
    await put(client, "x")
    assert (await client.post("/api/experiments/x/promote", json={"variant": "b"})).status == 200
    now = await (await client.get("/api/scenarios/homepage")).json()
    assert (now["version"], now["scenario"]) == (2, {"filter": "price > 0", "bury": ["shoe-1"]})
    found = await (await client.get("/api/experiments/x")).json()
    assert (found["state"], found["promoted"]) == ("stopped", "b")
    assert (await client.post("/api/scenarios/homepage/rollback", json={"version": 1})).status == 200
    now = await (await client.get("/api/scenarios/homepage")).json()
    assert (now["version"], now["scenario"]) == (3, {"filter": "price > 0"})
    for again in ("stop", "promote"):
        body = {"variant": "control"} if again == "promote" else {}
        wrong = await problem(await client.post(f"/api/experiments/x/{again}", json=body), 409)
        assert "ended with 'b' as the scenario already" in wrong["detail"]
    assert (await (await client.get("/api/experiments/x")).json())["promoted"] == "b"


async def test_what_cannot_be_promoted_is_refused_and_changes_nothing(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await publish(client, "homepage", {"limits": [{"field": "brand", "most": 2}]})
    boost = {"name": "b", "share": 0.5, "patch": {"value": {"match": 1, "margin": 0.1}}}
    await put(client, "x", whole(variants=[CONTROL, boost]))
    wrong = await problem(await client.post("/api/experiments/x/promote", json={"variant": "z"}), 422)
    assert wrong["errors"] == [{"pointer": "/variant", "detail": "expected a variant, control, b; got 'z'"}]
    assert (await (await client.get("/api/scenarios/homepage")).json())["version"] == 1


async def test_a_patch_that_fits_no_more_is_a_conflict_when_promoted(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await publish(client, "homepage", {"fatigue": {"shown": 5, "within": "P1D"}})
    await put(client, "x", whole(variants=[CONTROL, {"name": "b", "share": 0.5, "patch": {"fatigue": {"shown": 3}}}]))
    await publish(client, "homepage", {"filter": "price > 0"})
    assert set((await variants(client, 20)).values()) == {"control", None}
    await problem(await client.post("/api/experiments/x/promote", json={"variant": "b"}), 409)


async def test_who_is_held_out_of_one_experiment_is_held_out_of_all_of_its_layer(start: Start) -> None:
    client = await start()
    await stock_up(client)
    small = [{"name": "control", "share": 0.2}, {"name": "b", "share": 0.2, "patch": {"bury": ["shoe-1"]}}]
    await put(client, "two", {"scenario": "cart", "variants": small, "layer": "all", "unit": "session"})
    await put(client, "one", {"scenario": "homepage", "variants": small, "layer": "all", "holdout": 0.3})
    names = [f"s{n}" for n in range(60)]
    here = {name: (await ask(client, "homepage", session_id=name))["variant"] for name in names}
    there = {name: (await ask(client, "cart", session_id=name))["variant"] for name in names}
    held = {name for name in names if here[name] == "holdout"}
    assert held
    assert held == {name for name in names if there[name] == "holdout"}


async def test_versions_are_kept_and_an_older_one_can_be_put_again(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x")
    await put(client, "x", whole(description="second"))
    assert await (await client.post("/api/experiments/x/rollback", json={"version": 1})).json() == {
        "name": "x",
        "version": 3,
        "visible": True,
    }
    listed = (await (await client.get("/api/experiments/x/versions")).json())["experiments"]
    assert [(one["version"], one["experiment"].get("description")) for one in listed] == [
        (3, None),
        (2, "second"),
        (1, None),
    ]


async def test_impressions_say_of_which_variant_they_are(start: Start, redis_settings: RedisSettings) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x")
    told = await ask(client, "homepage", session_id="s1")
    until = time.monotonic() + 60
    while not (found := logged(redis_settings, Topic.IMPRESSIONS)):
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    assert (found[0]["context"]["experiment"], found[0]["context"]["variant"]) == ("x", told["variant"])


async def test_a_preview_takes_part_in_nothing(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x")
    answer = await client.post(
        "/api/scenarios/homepage/preview", json={"scenario": {}, "request": {"session_id": "s1"}}
    )
    found = await answer.json()
    assert (answer.status, found["experiment_id"], found["variant"]) == (200, None, None)


async def test_a_scenario_that_an_experiment_needs_is_not_deleted(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await publish(client, "deals", {"base": "homepage"})
    variant = {"name": "b", "share": 0.5, "scenario": "deals"}
    await put(client, "x", whole(variants=[HALF["variants"][0], variant]))  # type: ignore[index]
    await problem(await client.delete("/api/scenarios/deals"), 409)
    assert (await client.delete("/api/experiments/x")).status == 200
    assert (await client.delete("/api/scenarios/deals")).status == 200


async def test_a_variant_that_cannot_be_applied_any_more_takes_no_part(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await publish(client, "deals", {"base": "cart"})
    variant = {"name": "b", "share": 0.5, "patch": {"base": "deals"}}
    await put(client, "x", whole(variants=[CONTROL, variant]))
    assert set((await variants(client, 20)).values()) == {"control", "b"}
    assert (await client.delete("/api/scenarios/deals")).status == 200
    assert set((await variants(client, 20)).values()) == {"control", None}
    assert (await client.post("/api/experiments/x/promote", json={"variant": "b"})).status == 409


CONTROL = {"name": "control", "share": 0.5}
FOUR = [{"name": f"v{n}", "share": 0.1} for n in range(4)]
BANDIT: dict[str, Any] = {"kind": "bandit"}
INTERLEAVING: dict[str, Any] = {"kind": "interleaving"}
BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "shares over 1": (whole(variants=[CONTROL, {"name": "b", "share": 0.6}]), [""]),
    "a share of nothing": (whole(variants=[CONTROL, {"name": "b", "share": 0}]), ["/variants/1/share"]),
    "one variant": (whole(variants=[CONTROL]), ["/variants"]),
    "a name twice": (whole(variants=[CONTROL, CONTROL]), [""]),
    "an unknown scenario": (whole(scenario="nothing"), ["/scenario"]),
    "a variant of an unknown scenario": (
        whole(variants=[CONTROL, {"name": "b", "share": 0.5, "scenario": "nothing"}]),
        ["/variants/1/scenario"],
    ),
    "a version that never was": (
        whole(variants=[CONTROL, {"name": "b", "share": 0.5, "version": 7}]),
        ["/variants/1/version"],
    ),
    "a model": (whole(variants=[CONTROL, {"name": "b", "share": 0.5, "model": "m"}]), ["/variants/1/model"]),
    "a patch that is no scenario": (
        whole(variants=[CONTROL, {"name": "b", "share": 0.5, "patch": {"filter": "price <"}}]),
        ["/variants/1/patch/filter"],
    ),
    "patch and scenario": (
        whole(variants=[CONTROL, {"name": "b", "share": 0.5, "patch": {}, "scenario": "cart"}]),
        ["/variants/1"],
    ),
    "ended before it starts": (whole(start="2030-01-02T00:00:00Z", end="2030-01-01T00:00:00Z"), [""]),
    "over already": (whole(end="2020-01-01T00:00:00Z"), ["/end"]),
    "a segment that does not parse": (whole(segment="context.device =="), ["/segment"]),
    "a segment of items": (whole(segment="price < 5"), ["/segment"]),
    "an override of no variant": (whole(overrides={"s1": "z"}), [""]),
    "an unknown field": (whole(shares=1), ["/shares"]),
    "an unknown kind of allocation": (whole(allocation={"kind": "greedy"}), ["/allocation"]),
    "an allocation that is none": (whole(allocation="bandit"), ["/allocation"]),
    "a half-life of minutes": (whole(allocation={**BANDIT, "half_life": "PT5M"}), ["/allocation/half_life"]),
    "a half-life without a unit": (whole(allocation={**BANDIT, "half_life": 6}), ["/allocation/half_life"]),
    "a floor of half": (whole(allocation={**BANDIT, "floor": 0.5}), ["/allocation/floor"]),
    "floors that leave no room": (whole(variants=FOUR, allocation={**BANDIT, "floor": 0.25}), ["/allocation"]),
    "a context that is not known": (whole(allocation={**BANDIT, "context": ["age"]}), ["/allocation/context/0"]),
    "a context twice": (whole(allocation={**BANDIT, "context": ["device", "device"]}), ["/allocation/context"]),
    "a floor of interleaving": (whole(allocation={**INTERLEAVING, "floor": 0.1}), ["/allocation/floor"]),
    "four variants to interleave": (whole(variants=FOUR, allocation=INTERLEAVING), ["/allocation"]),
    "interleaved with a holdout": (whole(variants=FOUR[:2], holdout=0.1, allocation=INTERLEAVING), ["/allocation"]),
    "interleaved with a variant of that name": (
        whole(variants=[FOUR[0], {"name": "interleaved", "share": 0.1}], allocation=INTERLEAVING),
        ["/allocation"],
    ),
    "two things at once": (whole(segment="x ==", end="2020-01-01T00:00:00Z"), ["/end", "/segment"]),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_definition_is_refused_with_a_pointer_and_changes_nothing(what: str, start: Start) -> None:
    client = await start()
    document, pointers = BAD[what]
    assert sorted(await refused(client, document)) == pointers


async def test_a_write_that_another_came_before_is_refused(start: Start, redis_settings: RedisSettings) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x")
    with connect(redis_settings) as redis:  # as if another process published version 2 in this moment
        redis.hset(Keys(redis_settings.prefix).document_counts(SCENARIOS), document_name("x"), 2)
    for path, body in (("", HALF), ("/stop", {}), ("/promote", {"variant": "b"})):
        method = client.put if not path else client.post
        wrong = await problem(await method(f"/api/experiments/x{path}", json=body), 409)
        assert wrong["detail"] == (
            "version 2 of 'x' was published meanwhile, this one was made from 1: look at it and try again"
        )
    assert (await (await client.get("/api/experiments/x")).json())["version"] == 1


def test_500_experiments_are_laid_out_anew_without_reading_them_again() -> None:
    reads = _segment.cache_info().misses
    experiments = Experiments(Scenarios())

    def row(number: int) -> tuple[int, ExperimentVersion]:
        name = f"many-{number}"
        document = {**HALF, "layer": f"l{number}", "segment": f'context.many == "{number}"'}
        experiment = Experiment.model_validate(document)
        version = ExperimentVersion(
            name=name, version=1, published_ms=1, started_ms=1, experiment=experiment, buckets={"b": mask_of({1})}
        )
        return row_key_of(name), version

    experiments.take([row(number) for number in range(50)])
    experiments.take([row(0)])
    assert _segment.cache_info().misses == reads + 50


@pytest.mark.parametrize("other", ["promote", "stop"])
async def test_of_two_who_decide_at_once_one_decides_and_nothing_of_the_other_is_there(
    start: Start, other: str
) -> None:
    one, two = await start(), await start()
    await stock_up(one)
    for n in range(6):
        await put(one, f"x{n}")
        await two.put("/api/scenarios/unrelated", json={})  # whoever writes knows all that was written
        before = (await (await one.get("/api/scenarios/homepage")).json())["version"]
        asked = {"variant": "b", "why": "seen"} if other == "promote" else {"why": "seen"}
        answers = await asyncio.gather(
            one.post(f"/api/experiments/x{n}/promote", json={"variant": "b", "why": "seen"}),
            two.post(f"/api/experiments/x{n}/{other}", json=asked),
        )
        assert sorted(answer.status for answer in answers) == [200, 409]
        await one.put("/api/scenarios/unrelated", json={})
        found = await (await one.get(f"/api/experiments/x{n}")).json()
        after = (await (await one.get("/api/scenarios/homepage")).json())["version"]
        assert (found["state"], found["version"]) == ("stopped", 2)
        assert after - before == (1 if found["promoted"] == "b" else 0)


async def test_versions_that_are_damaged_are_left_out_and_a_damaged_number_says_what_to_do(
    start: Start, redis_settings: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    client, redis, keys = await start(), connect(redis_settings), Keys(redis_settings.prefix)
    await put(client, "x")
    await put(client, "x", whole(description="another"))
    for raw in (b"\xff", b"{}", b'{"experiment":{}}', b"[" * 9000):
        redis.rpush(keys.document_versions(SCENARIOS, document_name("x")), raw)
        answer = await client.get("/api/experiments/x/versions")
        assert [one["version"] for one in (await answer.json())["experiments"]] == [2, 1]
        assert (await client.post("/api/experiments/x/rollback", json={"version": 9})).status == 404
    assert sum("a version of the experiment x is left out" in line for line in caplog.messages) == 4
    for number in (b"abc", b"-1", b"9" * 40, b""):
        redis.hset(keys.document_counts(SCENARIOS), document_name("x"), number)
        assert (await client.put("/api/experiments/x", json=whole())).status == 503
        assert (await client.put("/api/scenarios/homepage", json={})).status == 200
    assert "the number of the newest version of 'experiment/x', got b'abc': put it there (HSET)" in caplog.text
    redis.hset(keys.document_counts(SCENARIOS), document_name("x"), 2)
    assert (await put(client, "x"))["version"] == 3
    redis.close()
