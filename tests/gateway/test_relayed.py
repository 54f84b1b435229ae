"""A gateway whose trends come by a relay says so, and goes on from Redis without one."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from contracts.settings import RedisSettings, RelayOptions
from state import relayed_line
from state.relay import Relay
from tests.gateway.conftest import Client, Start

TABLES = {"trends", "showings", "ended"}


@asynccontextmanager
async def relayed(settings: RedisSettings, path: str) -> AsyncIterator[None]:
    running = asyncio.create_task(Relay(settings, RelayOptions(socket=path)).run())
    yield
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def told(client: Client) -> dict[str, float]:
    """Return what /metrics says of tables that come by the relay."""
    text = await (await client.get("/metrics")).text()
    found = re.findall(r'^nextclick_gateway_table_by_relay\{table="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {table: float(value) for table, value in found}


async def until(client: Client, value: float) -> None:
    end = time.monotonic() + 60
    while await told(client) != dict.fromkeys(TABLES, value):
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_a_gateway_tells_which_tables_come_by_the_relay(
    start: Start, redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed_line, "AGAIN_S", (0.0, 0.05))
    with tempfile.TemporaryDirectory() as folder:  # a path that is short enough for a socket
        path = f"{folder}/relay.sock"
        client = await start(relay=RelayOptions(socket=path))
        assert await told(client) == dict.fromkeys(TABLES, 0.0)
        async with relayed(redis_settings, path):
            await until(client, 1.0)
        await until(client, 0.0)


async def test_without_a_relay_nothing_is_told_of_it(client: Client) -> None:
    assert await told(client) == {}
