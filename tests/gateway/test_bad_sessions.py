"""A stored session that cannot be read costs its own visitor the past, and nobody else anything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.settings import RedisSettings
from eventlog.open_log import open_dead_letters
from tests.damage import SESSION_BLOBS
from tests.gateway.conftest import LOG, Client, event, put_items
from tests.gateway.streams import Streams


async def ask(client: Client, session_id: str, **question: Any) -> dict[str, Any]:
    response = await client.post("/api/recommendations/homepage", json={"session_id": session_id, **question})
    assert response.status == 200, await response.text()
    answer: dict[str, Any] = await response.json()
    return answer


async def click(client: Client, *session_ids: str, number: int = 0) -> list[str]:
    """Click once in every session; returns the tokens."""
    answers = [await client.post("/api/events", json=event(f"{name}-{number}", name)) for name in session_ids]
    return [(await answer.json())["token"] for answer in answers]


def overwrite(settings: RedisSettings, session_id: str, blob: bytes) -> None:
    with redis.Redis.from_url(settings.url) as store:
        store.set(Keys(settings.prefix).session(partition_of(session_id, LOG.partitions), session_id), blob)


@pytest.mark.parametrize("kind", SESSION_BLOBS)
async def test_others_who_share_the_read_are_answered_and_the_session_begins_afresh_with_the_next_click(
    redis_settings: RedisSettings, client: Client, streams: Streams, kind: str
) -> None:
    others = [f"other-{n}" for n in range(8)]
    await put_items(client, {"item_id": "shoe-1", "title": "Shoe"})
    tokens = await click(client, "bad", *others)
    for name, token in zip(("bad", *others), tokens, strict=True):
        assert (await ask(client, name, after=token))["session"]["events"] == 1
    overwrite(redis_settings, "bad", SESSION_BLOBS[kind])

    bad, *answers = await asyncio.gather(*(ask(client, name) for name in ("bad", *others)))
    assert (bad["degraded"], bad["session"]["events"]) == (["session_unavailable", "general_model"], 0)
    assert [(one["degraded"], one["session"]["events"]) for one in answers] == [(["general_model"], 1)] * 8

    [token] = await click(client, "bad", number=1)
    after = await ask(client, "bad", after=token)
    assert (after["degraded"], after["session"]["events"]) == (["general_model"], 1)
    letters = open_dead_letters(LOG, redis_settings)
    assert [(one.reason, one.raw) for one in letters.read(10)] == [("bad_session", SESSION_BLOBS[kind])]
    letters.close()
