"""Visitors who do not consent: nothing kept of them is used, and nothing is kept."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from contracts.keys import REFUSALS
from contracts.settings import RedisSettings
from gateway.consents import Refusals
from gateway.keys import REFUSAL_STORE
from gateway.settings import CapsuleOptions, ConsentOptions
from state.refusals import refusal_key, refusal_row
from state.tables import TableReader
from state.users import UserStore
from tests.gateway.conftest import LOG, Client, Start, event, problem, put_items
from tests.gateway.streams import Streams
from tests.held import everything_in

SHOES = [{"item_id": f"shoe-{at}", "title": f"Trail shoe {at}", "category": "shoes", "price": 10.0} for at in range(12)]
POTS = [{"item_id": f"pot-{at}", "title": f"Copper pot {at}", "category": "kitchen", "price": 9.0} for at in range(12)]


async def stocked(client: Client) -> Client:
    await put_items(client, *(dict(one) for one in (*SHOES, *POTS)))
    return client


async def sent(client: Client, *events: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = await client.post("/api/events", json=list(events), **more)
    assert answer.status == 202
    document: dict[str, Any] = await answer.json()
    return document


async def asked(client: Client, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    question = {"session_id": "s-1", "limit": 8, **more}
    answer = await client.post("/api/recommendations/homepage", json=question, headers=headers)
    assert answer.status == 200, await answer.text()
    document: dict[str, Any] = await answer.json()
    return document


def shown(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(one["item_id"], round(one["score"], 4)) for one in answer["recommendations"]]


async def until_held(settings: RedisSettings, name: str) -> bytes:
    """Return all that a Redis holds once a name is in it."""
    until = time.monotonic() + 60
    while name.encode() not in (held := everything_in(settings)):
        assert time.monotonic() < until, f"{name} was not written within 60 s"
        await asyncio.sleep(0.02)
    return held


async def test_an_event_without_consent_is_in_no_log_and_the_answer_says_so(
    client: Client, redis_settings: RedisSettings
) -> None:
    events = [event("e-1", "s-quiet", consent=False), event("e-2", "s-loud"), event("e-3", "s-loud", consent=True)]
    answer = await sent(client, *events)
    assert (answer["accepted"], answer["rejected"], answer["not_kept"]) == (2, [], 1)
    assert "not_kept" not in await sent(client, event("e-4", "s-loud"))
    held = everything_in(redis_settings)
    assert (b"s-loud" in held, b"s-quiet" in held) == (True, False)
    figures = await (await client.get("/metrics")).text()
    assert 'nextclick_gateway_events_total{outcome="not_kept"} 1.0' in figures


@pytest.mark.parametrize(
    "wrong",
    [{"consent": False, "ts": "soon"}, {"consent": "no"}, {"consent": False, "v": 2}, {"consent": False, "ts": 9}],
)
async def test_no_dead_letter_is_made_of_a_wrong_event_without_consent(
    client: Client, redis_settings: RedisSettings, wrong: dict[str, Any]
) -> None:
    answer = await sent(client, {**event("e-1", "s-quiet"), **wrong})
    assert answer["accepted"] == 0
    assert len(answer["rejected"]) + answer.get("not_kept", 0) == 1
    await sent(client, {**event("e-2", "s-loud"), "ts": "soon"})
    assert b"s-quiet" not in await until_held(redis_settings, "s-loud")


async def test_an_answer_without_consent_goes_by_the_clicks_that_come_with_it_and_leaves_no_trace(
    client: Client, streams: Streams, redis_settings: RedisSettings
) -> None:
    await stocked(client)
    token = (await sent(client, event("e-1", item_id="pot-1"), event("e-2", item_id="pot-2")))["token"]
    known = await asked(client, after=token)
    assert known["session"]["events"] == 2
    quiet = {"user_id": "u-hush71", "consent": False, "session_id": "s-hush71"}
    clicks = [event("e-7", "s-hush71", "shoe-3", consent=False)]
    answer = await asked(client, **quiet, recent_events=clicks)
    assert (answer["not_kept"], answer["session"]["events"], answer["cold_start"]) == (True, 1, "session")
    assert "profile" not in answer
    nothing = await asked(client, consent=False)
    assert (nothing["session"]["events"], nothing["cold_start"]) == (0, "newest")
    page = await client.post("/api/pages", json={**quiet, "lists": [{"scenario": "homepage"}, {"scenario": "cart"}]})
    assert [one["not_kept"] for one in (await page.json())["lists"]] == [True, True]
    known_again = await asked(client)
    assert shown(known_again) == shown(known)
    after = await until_held(redis_settings, known_again["request_id"])
    for name in ("hush71", answer["request_id"], nothing["request_id"]):
        assert name.encode() not in after


async def test_a_withdrawal_stops_use_at_once_in_every_process(
    start: Start, streams: Streams, redis_settings: RedisSettings
) -> None:
    one, other = await start(), await start()
    await stocked(one)
    clicks = [event(f"e-{at}", item_id=f"pot-{at}", user_id="u-1") for at in range(3)]
    token = (await sent(one, *clicks))["token"]
    before = await asked(other, user_id="u-1", after=token)
    assert (before["session"]["events"], before["cold_start"]) == (3, "session")
    answer = await one.put("/api/users/u-1/consent", json={"personalisation": False})
    assert (answer.status, await answer.json()) == (200, {"visible": True})
    after = await asked(other, user_id="u-1")
    assert (after["not_kept"], after["session"]["events"]) == (True, 0)
    assert (await sent(one, event("e-9", "s-9", user_id="u-1")))["not_kept"] == 1

    async def counts() -> int:
        return int((await sent(other, event("e-10", "s-9", user_id="u-1"))).get("not_kept", 0))

    while await counts() == 0:  # another process hears of it within milliseconds
        pass
    anonymous = await asked(one)  # it is the session of who withdrew
    assert (anonymous["not_kept"], anonymous["session"]["events"]) == (True, 0)
    answer = await one.put("/api/users/u-1/consent", json={"personalisation": True})
    assert answer.status == 200
    assert (await asked(one, user_id="u-1"))["session"]["events"] == 3
    assert (await sent(one, event("e-11", "s-9", user_id="u-1")))["accepted"] == 1


async def test_a_withdrawal_holds_whatever_consent_was_given_before_it_and_comes_late_to_the_refusals(
    start: Start, redis_settings: RedisSettings
) -> None:
    one, other = await start(), await start()
    assert one.app is not None
    store, reached, may_go_on = one.app[REFUSAL_STORE], threading.Event(), threading.Event()

    def late(user_id: str, take_back: Callable[[str], int] = store.take_back) -> int:
        reached.set()
        may_go_on.wait(60)
        return take_back(user_id)

    store.take_back = late  # type: ignore[method-assign]  # a process that stands still between two writes
    given = asyncio.create_task(one.put("/api/users/u-1/consent", json={"personalisation": True}))
    await asyncio.to_thread(reached.wait, 60)
    assert (await other.put("/api/users/u-1/consent", json={"personalisation": False})).status == 200
    may_go_on.set()
    assert (await given).status == 200
    document = UserStore(redis_settings, partitions=LOG.partitions).get("u-1")
    assert document is not None
    assert document["consent"]["personalisation"] is False
    for client in (one, other):
        assert (await sent(client, event("e-1", "s-1", user_id="u-1")))["not_kept"] == 1


async def test_consent_given_and_withdrawn_at_once_on_many_sessions_ends_as_the_document_says(
    start: Start, redis_settings: RedisSettings
) -> None:
    one, other = await start(), await start()
    users, table = UserStore(redis_settings, partitions=LOG.partitions), TableReader(redis_settings, REFUSALS)
    for at in range(20):
        said = [(one, False), (other, True), (one, True), (other, False)]
        puts = [to.put(f"/api/users/u-{at}/consent", json={"personalisation": yes}) for to, yes in said]
        assert [answer.status for answer in await asyncio.gather(*puts)] == [200, 200, 200, 200]
        document = users.get(f"u-{at}")
        assert document is not None
        refused = refusal_row(f"u-{at}") in {key for rows in table.rows() for key, _ in rows}
        assert (at, refused) == (at, not document["consent"]["personalisation"])
    table.close()


async def test_consent_is_kept_beside_what_the_site_says(client: Client) -> None:
    assert (await client.get("/api/users/u-1/consent")).status == 404
    await client.put("/api/users/u-1", json={"age": 30})
    await client.put("/api/users/u-1/consent", json={"marketing": True})
    await client.put("/api/users/u-1/consent", json={"personalisation": False})
    said = await (await client.get("/api/users/u-1/consent")).json()
    assert (said["personalisation"], said["marketing"], set(said)) == (
        False,
        True,
        {"personalisation", "marketing", "at_ms"},
    )
    assert (await (await client.get("/api/users/u-1")).json()) == {"age": 30, "consent": said}
    await client.put("/api/users/u-1", json={"age": 31})
    assert (await (await client.get("/api/users/u-1")).json()) == {"age": 31, "consent": said}


async def test_a_refusal_outlives_the_document(client: Client) -> None:
    await client.put("/api/users/u-1/consent", json={"personalisation": False})
    assert (await client.delete("/api/users/u-1")).status == 200
    assert await (await client.get("/api/users/u-1/consent")).json() == {"personalisation": False}
    assert (await sent(client, event("e-1", user_id="u-1")))["not_kept"] == 1
    for said in ({}, {"marketing": True}, None):
        assert (await client.put("/api/users/u-1", json={"consent": said})).status == 200
        assert (await sent(client, event("e-1", user_id="u-1")))["not_kept"] == 1
    await client.patch("/api/users/u-1", json={"consent": {"personalisation": True}})
    assert (await sent(client, event("e-1", user_id="u-1")))["accepted"] == 1


@pytest.mark.parametrize("body", [{}, {"personalisation": "no"}, {"personalisation": None}, {"consent": False}])
async def test_what_says_nothing_of_consent_is_refused(client: Client, body: dict[str, Any]) -> None:
    await problem(await client.put("/api/users/u-1/consent", json=body), 422)
    assert (await client.get("/api/users/u-1/consent")).status == 404


async def test_signals_of_the_browser_count_where_settings_say_so(start: Start) -> None:
    deaf, listening = await start(), await start(consent=ConsentOptions(gpc=True, dnt=True))
    for headers in ({"Sec-GPC": "1"}, {"DNT": "1"}):
        assert (await sent(deaf, event("e-1"), headers=headers))["accepted"] == 1
        assert (await sent(listening, event("e-1", consent=True), headers=headers))["not_kept"] == 1
        assert "not_kept" not in await asked(deaf, headers=headers)
        assert (await asked(listening, headers=headers, consent=True))["not_kept"] is True
    assert (await sent(listening, event("e-1"), headers={"Sec-GPC": "0"}))["accepted"] == 1


async def test_where_consent_is_required_only_a_yes_is_kept(start: Start) -> None:
    client = await start(consent=ConsentOptions(required=True))
    answer = await sent(client, event("e-1"), event("e-2", consent=True), event("e-3", consent=False))
    assert (answer["accepted"], answer["not_kept"]) == (1, 2)
    assert (await asked(client))["not_kept"] is True
    assert "not_kept" not in await asked(client, consent=True)


async def test_a_list_without_consent_goes_on_where_it_ended(client: Client, streams: Streams) -> None:
    await stocked(client)
    first = await asked(client, consent=False)
    second = await asked(client, consent=False, cursor=first["cursor"])
    assert len({name for name, _ in (*shown(first), *shown(second))}) == 16


async def test_an_answer_by_a_capsule_is_that_of_a_kept_session(client: Client, streams: Streams) -> None:
    await stocked(client)
    clicks = [event(f"e-{at}", item_id=name) for at, name in enumerate(("shoe-1", "pot-1", "shoe-2", "shoe-1"))]
    capsule = ""
    for click in clicks:
        own = [click | {"session_id": "s-carried"}]
        carried = await asked(client, session_id="s-carried", consent=False, capsule=capsule, recent_events=own)
        capsule = carried["capsule"]
    assert (carried["session"]["events"], carried["not_kept"]) == (4, True)
    carried = await asked(client, session_id="s-any", consent=False, capsule=capsule)
    token = (await sent(client, *clicks))["token"]
    kept = await asked(client, after=token)
    assert kept["session"]["events"] == carried["session"]["events"] == 4
    assert [name for name, _ in shown(carried)] == [name for name, _ in shown(kept)]
    assert [score for _, score in shown(carried)] == pytest.approx([score for _, score in shown(kept)], abs=2e-4)


async def test_a_click_that_is_in_the_capsule_counts_once(client: Client, streams: Streams) -> None:
    await stocked(client)
    click = event("e-1", item_id="shoe-1")
    first = await asked(client, capsule="", recent_events=[click])
    again = await asked(client, capsule=first["capsule"], recent_events=[click])
    assert again["session"]["events"] == 1


async def test_a_page_brings_one_capsule(client: Client, streams: Streams) -> None:
    await stocked(client)
    lists = [{"scenario": "homepage"}, {"scenario": "cart"}]
    page: dict[str, Any] = {"session_id": "s-1", "consent": False, "recent_events": [event("e-1")], "lists": lists}
    without = await (await client.post("/api/pages", json=page)).json()
    assert "capsule" not in without
    answer = await (await client.post("/api/pages", json={**page, "capsule": ""})).json()
    assert ["capsule" in one for one in answer["lists"]] == [False, False]
    assert (await asked(client, capsule=answer["capsule"]))["session"]["events"] == 1


async def test_a_capsule_that_was_changed_is_refused_with_its_place(client: Client) -> None:
    first = await asked(client, capsule="", recent_events=[event("e-1")])
    text = first["capsule"]
    changed = text[:60] + ("A" if text[60] != "A" else "B") + text[61:]
    for question in ({"capsule": changed}, {"capsule": changed, "context": {}}, {"capsule": "nonsense"}):
        answer = await client.post("/api/recommendations/homepage", json={"session_id": "s-1", **question})
        assert (await problem(answer, 422))["errors"][0]["pointer"] == "/capsule"


async def test_an_old_capsule_is_a_new_session(start: Start) -> None:
    times = [1_800_000_000_000]
    client = await start(clock=lambda: times[0])
    click = {**event("e-1"), "ts": times[0]}
    first = await asked(client, capsule="", recent_events=[click])
    times[0] += 31 * 60_000
    answer = await asked(client, capsule=first["capsule"])
    assert (answer["session"]["events"], answer["capsule"]) == (0, "")


async def test_processes_of_a_deployment_take_each_others_capsules(start: Start) -> None:
    one, other = await start(), await start()
    renamed = await start(capsule=CapsuleOptions(key="n" * 32))
    first = await asked(one, capsule="", recent_events=[event("e-1")])
    assert (await asked(other, capsule=first["capsule"]))["session"]["events"] == 1
    answer = await renamed.post("/api/recommendations/homepage", json={"session_id": "s", "capsule": first["capsule"]})
    assert "with a key that is not there" in (await problem(answer, 422))["detail"]


def test_a_damaged_row_counts_as_a_refusal() -> None:
    refusals = Refusals()
    with pytest.raises(ValueError, match="expected a refusal"):
        refusals.apply([(refusal_key("u-1"), b"damaged")])
    assert (refusals.holds("u-1"), refusals.holds("u-2"), refusals.holds(None)) == (True, False, False)
    refusals.apply([(refusal_key("u-1"), None)])
    assert not refusals.holds("u-1")
