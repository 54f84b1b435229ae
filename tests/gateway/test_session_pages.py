"""Sessions over HTTP: their clicks, what is near them, and an answer that forgets a click."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from contracts.sessions import CLICK, NO_CLICKS, Session
from gateway.sessions import without_clicks
from tests.gateway.conftest import Client, Start, event, problem, put_items
from tests.gateway.streams import Streams

ITEMS = ("shoe-1", "Trail shoe"), ("shoe-2", "Road shoe"), ("tent-1", "Tent"), ("lamp-1", "Lamp")


def click(event_key: int, item: int, ts_ms: int) -> tuple[int, int, int, int]:
    return ts_ms, item, event_key, 1


def session(*clicks: tuple[int, int, int, int], events: int | None = None) -> Session:
    window = np.array(list(clicks), CLICK) if clicks else NO_CLICKS
    many = len(clicks) if events is None else events
    return Session("s", None, 100, int(window["ts_ms"][-1]), many, 7, window, np.ones(4, np.float32), 9)


def test_a_session_without_a_click_is_encoded_again_from_the_others() -> None:
    whole = session(click(1, 11, 100), click(2, 12, 200), click(3, 13, 300))
    left = without_clicks(whole, [3])
    assert left is not None
    assert (left.events, left.started_ms, left.last_ms, left.model_version) == (2, 100, 200, 0)
    assert left.window["item"].tolist() == [11, 12]
    assert (len(whole.window), whole.events, whole.model_version) == (3, 3, 9)


def test_a_session_begins_with_the_first_click_that_is_left_unless_its_window_is_shorter() -> None:
    clicks = click(1, 11, 100), click(2, 12, 200)
    for events, started_ms in ((2, 200), (40, 100)):
        left = without_clicks(session(*clicks, events=events), [1])
        assert left is not None
        assert (left.started_ms, left.events) == (started_ms, events - 1)


def test_a_session_without_its_only_click_is_none_and_an_unknown_click_changes_nothing() -> None:
    one = session(click(1, 11, 100))
    assert without_clicks(one, [1]) is None
    assert without_clicks(one, [2]) is one
    assert without_clicks(one, []) is one
    assert without_clicks(None, [1]) is None


async def clicked(client: Client, *item_ids: str) -> str:
    """Click items one after the other; returns the token of the last."""
    now_ms = time.time_ns() // 1_000_000
    clicks = [event(f"e-{at}", "s-1", item, ts=now_ms - 5000 + at) for at, item in enumerate(item_ids)]
    answer = await client.post("/api/events", json=clicks)
    return str((await answer.json())["token"])


async def stocked(client: Client) -> None:
    await put_items(client, *({"item_id": item_id, "title": title, "price": 10.0} for item_id, title in ITEMS))


async def preview(client: Client, token: str, **fields: Any) -> dict[str, Any]:
    request = {"session_id": "s-1", "after": token, "limit": 4}
    answer = await client.post("/api/scenarios/homepage/preview", json={"scenario": {}, "request": request, **fields})
    assert answer.status == 200, await answer.text()
    found: dict[str, Any] = await answer.json()
    return found


async def test_a_session_is_shown_with_the_titles_and_ages_of_its_clicks(client: Client, streams: Streams) -> None:
    await stocked(client)
    await preview(client, await clicked(client, "shoe-1", "gone-1", "tent-1"))
    answer = await client.get("/api/sessions/s-1")
    assert answer.status == 200, await answer.text()
    found = await answer.json()
    told = [(one["type"], one.get("item_id"), one.get("title")) for one in found["clicks"]]
    assert told == [("view", "tent-1", "Tent"), ("view", None, None), ("view", "shoe-1", "Trail shoe")]
    ages = [one["age_ms"] for one in found["clicks"]]
    assert ages == sorted(ages)
    assert (found["events"], found["user_id"], len({one["event"] for one in found["clicks"]})) == (3, None, 3)
    near = {one["item_id"]: one["similarity"] for one in found["nearest"]}
    assert set(near) == {"shoe-1", "shoe-2", "tent-1", "lamp-1"}
    assert list(near.values()) == sorted(near.values(), reverse=True)
    assert min(near["tent-1"], near["shoe-1"]) > near["lamp-1"]


async def test_a_session_of_one_click_is_shown(client: Client, streams: Streams) -> None:
    await stocked(client)
    await preview(client, await clicked(client, "lamp-1"))
    found = await (await client.get("/api/sessions/s-1")).json()
    assert [one["title"] for one in found["clicks"]] == ["Lamp"]


async def test_a_preview_forgets_a_click_and_leaves_the_session_as_it_is(client: Client, streams: Streams) -> None:
    await stocked(client)
    token = await clicked(client, "shoe-1", "tent-1")
    present = await preview(client, token)
    before = await (await client.get("/api/sessions/s-1")).json()
    newest = before["clicks"][0]["event"]
    without = await preview(client, token, forget=[newest])
    assert (present["session"]["events"], without["session"]["events"]) == (2, 1)
    assert "tent-1" not in [one["item_id"] for one in present["recommendations"]]
    assert "tent-1" in [one["item_id"] for one in without["recommendations"]]
    both = await preview(client, token, forget=[one["event"] for one in before["clicks"]])
    assert both["session"]["events"] == 0
    after = await (await client.get("/api/sessions/s-1")).json()
    for found in (before, after):
        del found["now_ms"]
        found["clicks"] = [{**one, "age_ms": 0} for one in found["clicks"]]
    assert before == after


@pytest.mark.parametrize(("forget", "pointer"), [(["x"], "/forget/0"), ("x", "/forget"), (["0" * 16] * 101, "/forget")])
async def test_what_is_no_click_is_refused_with_a_pointer(client: Client, forget: object, pointer: str) -> None:
    body = {"scenario": {}, "request": {"session_id": "s"}, "forget": forget}
    said = await problem(await client.post("/api/scenarios/homepage/preview", json=body), 422)
    assert said["errors"][0]["pointer"] == pointer


async def test_sessions_answered_lately_are_listed_newest_first_without_previews(client: Client) -> None:
    for session_id, scenario in (("a", "homepage"), ("b", "cart"), ("a", "product")):
        await client.post(f"/api/recommendations/{scenario}", json={"session_id": session_id})
    await client.post("/api/scenarios/homepage/preview", json={"scenario": {}, "request": {"session_id": "tried"}})
    found = (await (await client.get("/api/sessions")).json())["sessions"]
    assert [(one["session_id"], one["scenario"]) for one in found] == [("a", "product"), ("b", "cart")]
    for number in range(30):
        await client.post("/api/recommendations/homepage", json={"session_id": f"many-{number}"})
    found = (await (await client.get("/api/sessions")).json())["sessions"]
    assert [one["session_id"] for one in found] == [f"many-{number}" for number in range(29, 9, -1)]


async def test_a_session_that_nothing_is_stored_of_says_so(start: Start) -> None:
    client = await start()
    answer = await client.get("/api/sessions/nobody%2Fhere")
    assert answer.status == 404
    said = await answer.json(content_type="application/problem+json")
    assert said["detail"].startswith("nothing is stored of the session 'nobody/here'")
    await problem(await client.get("/api/sessions/" + "x" * 257), 422)
    await problem(await client.get("/api/sessions/%ff"), 422)
