"""All that is held of a user, handed out as one document."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np

from campaigns.caps import packed
from contracts.codec import EndedSession, encode_ended
from contracts.ids import item_key
from contracts.keys import ENDED, Keys
from contracts.settings import RedisSettings
from flows.settings import FlowSettings
from gateway.settings import AnswerOptions, RecordOptions
from retrieval.ended_sessions import slot_of
from rights.places import exported
from state.campaign_ledger import mailed_key
from state.client import connect
from state.tables import TableWriter
from tests.gateway.conftest import LOG, Client, Start, event, put_items
from tests.gateway.streams import Streams


async def exported_of(client: Client, user_id: str) -> dict[str, Any]:
    answer = await client.get(f"/api/users/{user_id}/export")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    document: dict[str, Any] = await answer.json()
    assert document["complete"] is True
    return document


async def test_an_export_holds_what_the_user_did_and_nothing_of_others(
    start: Start, streams: Streams, tmp_path: Path
) -> None:
    client = await start(
        record=RecordOptions(to=str(tmp_path / "recorded")), answers=AnswerOptions(to=str(tmp_path / "answers"))
    )
    await put_items(client, {"item_id": "shoe-1", "title": "Shoe"}, {"item_id": "pot-1", "title": "Pot"})
    await client.put("/api/users/u-1", json={"age": 30, "do_not_show": {"brands": ["Acme"]}})
    await client.put("/api/users/u-1/consent", json={"marketing": False})
    events = [
        event("e-1", "s-1"),  # before the log-in
        event("e-2", "s-1", user_id="u-1"),
        event("e-3", "s-1", user_id="u-2"),
        event("e-4", "s-2", "pot-1", user_id="u-2"),
        {**event("e-5", "s-3", user_id="u-1"), "ts": "wrong"},
    ]
    token = (await (await client.post("/api/events", json=events)).json())["token"]
    question = {"session_id": "s-1", "user_id": "u-1", "after": token}
    shown = await (await client.post("/api/recommendations/homepage", json=question)).json()
    until = time.monotonic() + 60
    while True:
        document = await exported_of(client, "u-1")
        held = document["held"]
        if held["impressions"] and held["answers"] and held["dead_letters"] and len(held["recordings"]) == 2:
            break
        assert time.monotonic() < until, held
        await asyncio.sleep(0.05)
    assert held["user"][0]["age"] == 30
    assert held["user"][0]["do_not_show"] == {"brands": ["Acme"]}
    assert held["user"][0]["consent"]["marketing"] is False
    assert [one["event_id"] for one in held["clicks"]] == ["e-1", "e-2"]
    assert {one["event_id"] for one in held["recordings"]} == {"e-1", "e-2"}
    assert held["impressions"][0]["request_id"] == held["answers"][0]["request_id"] == shown["request_id"]
    assert [one["reason"] for one in held["dead_letters"]] == ["invalid"]
    assert document["sessions"] == ["s-1"]
    assert "pot-1" not in str(held["clicks"]) + str(held["session"])


async def test_every_place_that_is_a_visitors_own_is_in_an_export(client: Client) -> None:
    document = await exported_of(client, "nobody")
    assert {*document["held"], *document["not_read"]} == {place.name for place in exported()}
    assert all(held == [] for held in document["held"].values())
    assert document["sessions"] == []


async def test_a_session_and_its_clicks_are_told_by_the_ids_of_items(client: Client, streams: Streams) -> None:
    await put_items(client, {"item_id": "shoe-1", "title": "Shoe"})
    body = [event("e-1", user_id="u-1"), event("e-2", item_id="never-put", user_id="u-1")]
    token = (await (await client.post("/api/events", json=body)).json())["token"]
    await client.post("/api/recommendations/homepage", json={"session_id": "s-1", "after": token})
    [session] = (await exported_of(client, "u-1"))["held"]["session"]
    assert (session["session_id"], session["user_id"], session["events"]) == ("s-1", "u-1", 2)
    assert session["clicks"][0]["item"] == "shoe-1"
    assert len(session["clicks"][1]["item"]) == 16


async def test_ended_sessions_campaigns_and_items_that_are_waited_for_are_told(
    client: Client, streams: Streams, redis_settings: RedisSettings
) -> None:
    await put_items(client, {"item_id": "shoe-1", "title": "Shoe"})
    body = [event("e-1", user_id="u-1"), event("e-2", session_id="s-2", user_id="u-2")]
    await client.post("/api/events", json=body)
    began_ms, keys = body[0]["ts"], Keys(redis_settings.prefix)
    slots, shoe = FlowSettings().trend.sessions, item_key("shoe-1")
    rows = {}
    for session, started_ms in (("s-1", began_ms), ("s-1", began_ms - 1), ("s-2", body[1]["ts"])):
        row = encode_ended(EndedSession(started_ms, np.array([shoe, 7], np.uint64), 1))
        rows[slot_of(session, started_ms, slots).to_bytes(8, "little")] = row
    writer, redis = TableWriter(redis_settings, ENDED), connect(redis_settings)
    writer.commit(rows, [])
    writer.close()
    redis.hset(mailed_key(keys, LOG.partitions, "u-1"), "u-1", packed({7: 1000}))
    redis.zadd(keys.waits(shoe), {"u-1": 2000, "u-2": 2000})
    redis.close()
    held = (await exported_of(client, "u-1"))["held"]
    assert held["table_rows"] == [
        {"session_id": "s-1", "started_ms": began_ms, "items": ["shoe-1", "0000000000000007"], "taken": 1}
    ]
    assert held["mailed"] == [{"campaign_hash": "0000000000000007", "at_ms": 1000}]
    assert held["waits"] == [{"items": ["shoe-1"], "clicked_ms": 2000}]
