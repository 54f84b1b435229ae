"""The whole stack as people run it: Redis, the flows and the gateway in processes of their own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.settings import LogSettings
from nextclick.stack.client import Client
from nextclick.stack.progress import read_progress, totals
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.synthetic.shoppers import Shop, default_shop
from tests.open_fields import NAMES

ITEMS = 1500


@pytest.fixture(scope="module")
def shop() -> Shop:
    return default_shop()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> Iterator[Stack]:
    options = StackOptions(port=0, folder=tmp_path_factory.mktemp("stack"))
    with Stack(StackSettings(stack=options, artifacts=str(ARTIFACTS))) as running:
        step = len(shop) // ITEMS
        lines = [line(item_id, item) for item_id, item in shop.items[::step]]
        with Client(running.url) as client:
            answer = client.put_items(lines)
        assert (answer["rejected"], answer["visible"]) == ([], True)
        yield running


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url) as made:
        yield made


def line(item_id: str, item: Any) -> bytes:
    return bytes(item.model_copy(update={"item_id": item_id}).model_dump_json(exclude_none=True), "utf-8")


def view(session_id: str, item_id: str) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    return {
        "v": 1,
        "event_id": uuid.uuid4().hex,
        "type": "view",
        "session_id": session_id,
        "item_id": item_id,
        "ts": now_ms,
    }


def ids_of(answer: dict[str, Any]) -> list[str]:
    return [one["product_id"] for one in answer["recommendations"]]


def one_category(client: Client, shop: Shop, count: int) -> list[str]:
    """Ids of `count` loaded, sellable items of one category."""
    loaded = [(item_id, item) for item_id, item in shop.items[:: len(shop) // ITEMS]]
    shelves: dict[str, list[str]] = {}
    for item_id, item in loaded:
        if item.stock and not item.regions and not item.min_age:
            shelves.setdefault(item.category, []).append(item_id)
    return next(ids for ids in shelves.values() if len(ids) >= count + 5)[:count]


def wait_for(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "gave up waiting"
        time.sleep(0.02)


def test_starting_is_no_struggle(stack: Stack) -> None:
    assert stack.supervisor is not None
    assert {child.name: child.restarts for child in stack.supervisor.children} == {
        "items": 0,
        "sessions": 0,
        "trends": 0,
        "profiles": 0,
        "gateway-0": 0,
    }


def test_three_clicks_change_the_next_recommendation(client: Client, shop: Shop) -> None:
    session = uuid.uuid4().hex
    category = {item_id: item.category for item_id, item in shop.items}
    before = client.recommend("homepage", session, limit=20)
    assert before["session"] == {"events": 0, "age_ms": None}
    clicked = one_category(client, shop, 3)
    token = ""
    for item_id in clicked:
        token = client.send_events([view(session, item_id)])["token"]
    after = client.recommend("homepage", session, limit=20, after=token)
    assert after["session"]["events"] == 3
    assert after["degraded"] == []
    assert after.get("stale") is not True
    assert ids_of(after) != ids_of(before)
    assert len(ids_of(after)) == 20
    near = [item_id for item_id in ids_of(after) if category[item_id] == category[clicked[0]]]
    assert len(near) >= 5
    assert not set(clicked) & set(ids_of(after))
    assert {"session_view", "retrieve", "features", "rerank", "rules", "total"} <= set(after["timings_us"])
    assert all(took_us >= 0 for took_us in after["timings_us"].values())


def test_an_item_with_fields_of_any_name_is_followed_by_every_process(stack: Stack, client: Client) -> None:
    own = dict.fromkeys(NAMES, "A")
    loaded = client.put_items([orjson.dumps({"item_id": "odd", "title": "x", **own})])
    assert loaded == {"accepted": 1, "rejected": [], "visible": True}
    assert client.item("odd") == {"item_id": "odd", "title": "x", "category": "", **own}
    session = uuid.uuid4().hex
    for _ in range(2):
        token = client.send_events([view(session, "odd")])["token"]
        answer = client.recommend("homepage", session, after=token)
        assert answer.get("stale") is not True
    assert answer["session"]["events"] == 2
    assert client.set_stock({"odd": 0})["visible"] is True
    assert stack.supervisor is not None
    assert [child.name for child in stack.supervisor.children if child.restarts] == []


def test_an_item_that_runs_out_of_stock_is_gone_from_the_next_answer(client: Client, shop: Shop) -> None:
    session = uuid.uuid4().hex
    token = client.send_events([view(session, item_id) for item_id in one_category(client, shop, 3)])["token"]
    shown = ids_of(client.recommend("homepage", session, after=token))
    for gone in shown[:5]:
        assert client.set_stock({gone: 0})["visible"] is True
        assert gone not in ids_of(client.recommend("homepage", session))
    assert client.set_stock(dict.fromkeys(shown[:5], 9))["visible"] is True
    assert set(shown[:5]) <= set(ids_of(client.recommend("homepage", session)))


def test_a_new_item_can_be_recommended_as_soon_as_it_is_accepted(client: Client, shop: Shop) -> None:
    clicked = one_category(client, shop, 3)
    twin = dict(shop.items)[clicked[0]].model_dump(exclude_none=True) | {"item_id": f"new-{uuid.uuid4().hex[:6]}"}
    assert client.put_items([orjson.dumps(twin)])["visible"] is True
    session = uuid.uuid4().hex
    token = client.send_events([view(session, clicked[0])])["token"]
    assert twin["item_id"] in ids_of(client.recommend("homepage", session, limit=50, after=token))


def test_every_accepted_event_is_applied(client: Client, stack: Stack, shop: Shop) -> None:
    settings = stack.running_settings
    wait_for(lambda: totals(read_progress(settings))["lag"] == 0)
    before = totals(read_progress(settings))
    item_ids = [item_id for item_id, _ in shop.items[:50]]
    accepted = 0
    for n in range(40):
        events = [view(f"count-{n}-{k}", item_id) for k, item_id in enumerate(item_ids)]
        events.append(events[0])  # a duplicate
        events.append(view(f"count-{n}-0", item_ids[0]) | {"ts": 1000})  # long closed
        answer = client.send_events(events)
        assert [(one["index"], one["reason"].partition(":")[0]) for one in answer["rejected"]] == [(51, "too_old")]
        accepted += answer["accepted"]
    assert accepted == 40 * 51
    wait_for(lambda: totals(read_progress(settings))["lag"] == 0)
    after = totals(read_progress(settings))
    grown = {name: after[name] - before[name] for name in ("applied", "duplicate", "dead_lettered")}
    assert grown == {"applied": 40 * 50, "duplicate": 40, "dead_lettered": 0}


def test_the_stack_survives_the_death_of_each_of_its_processes(client: Client, stack: Stack, shop: Shop) -> None:
    session, item_id = uuid.uuid4().hex, one_category(client, shop, 1)[0]
    for name in ("sessions", "items", "trends"):
        child = stack.child(name)
        restarts = child.restarts
        assert child.process is not None
        child.process.kill()
        client.send_events([view(session, item_id)])
        wait_for(lambda child=child, least=restarts + 1: child.restarts >= least)  # type: ignore[misc]
    wait_for(lambda: client.recommend("homepage", session)["session"]["events"] == 3)
    assert client.set_stock({item_id: 5})["accepted"] == 1


@pytest.mark.slow
@pytest.mark.kafka
def test_the_same_stack_runs_on_kafka(tmp_path: Path, kafka_log_settings: LogSettings, shop: Shop) -> None:
    options = StackOptions(port=0, folder=tmp_path)
    settings = StackSettings(stack=options, artifacts=str(ARTIFACTS), log=kafka_log_settings)
    with Stack(settings) as stack, Client(stack.url) as client:
        loaded = shop.items[:: len(shop) // ITEMS]
        assert client.put_items(line(item_id, item) for item_id, item in loaded)["visible"] is True
        session = uuid.uuid4().hex
        clicked = one_category(client, shop, 3)
        token = client.send_events([view(session, item_id) for item_id in clicked])["token"]
        answer = client.recommend("homepage", session, after=token)
        assert (answer["session"]["events"], answer["degraded"]) == (3, [])
        gone = ids_of(answer)[0]
        assert client.set_stock({gone: 0})["visible"] is True
        assert gone not in ids_of(client.recommend("homepage", session))
