"""What one request does at a time: the next one waits for it, and is refused where that takes long."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from gateway import dead_letters, insight, kpi, one_at_a_time
from tests.gateway.conftest import Client, problem, put_items
from tests.gateway.streams import Streams

ASKED = [
    ("/api/kpi?by=recommended", kpi.COUNTING),
    ("/api/dead-letters", dead_letters.READING),
    ("/api/items/shoe-1/insight", insight.LOOKING),
]


@pytest.mark.parametrize(("path", "turns"), ASKED, ids=[path for path, _ in ASKED])
async def test_a_request_that_comes_second_waits_for_the_first(
    client: Client, streams: Streams, path: str, turns: web.AppKey[asyncio.Semaphore]
) -> None:
    assert client.app is not None
    await put_items(client, {"item_id": "shoe-1", "title": "Shoe"})
    async with client.app[turns]:
        second = asyncio.ensure_future(client.get(path))
        await asyncio.sleep(0.2)
        assert not second.done()
    assert (await asyncio.wait_for(second, 60)).status == 200


@pytest.mark.parametrize(("path", "turns"), ASKED, ids=[path for path, _ in ASKED])
async def test_a_request_that_waited_in_vain_is_told_to_ask_again(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str, turns: web.AppKey[asyncio.Semaphore]
) -> None:
    monkeypatch.setattr(one_at_a_time, "PATIENCE_S", 0.05)
    assert client.app is not None
    async with client.app[turns]:
        answer = await asyncio.wait_for(client.get(path), 60)
    assert "one request at a time does: ask again" in (await problem(answer, 503))["detail"]
    assert answer.headers["Retry-After"] == "1"
    assert not client.app[turns].locked()
