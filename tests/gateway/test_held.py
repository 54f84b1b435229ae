"""Bodies that never end: together they hold no more than they may, and keep nobody out who sends little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.held import ALWAYS_TAKEN, HELD, HeldBody, HeldBytes
from gateway.problems import Refused
from tests.gateway.conftest import Client, Start, event, problem

JSON = {"Content-Type": "application/json"}
MOST = 1_000_000
LARGE = b" " * 400_000
HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 900000\r\n\r\n"
DOORS = [(b"/api/events", b"application/json"), (b"/api/items", b"application/x-ndjson")]


async def half_sent(client: Client, path: bytes, kind: bytes) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(HEAD % (path, kind) + LARGE)
    await writer.drain()
    return writer


def held(client: Client) -> int:
    assert client.app is not None
    return client.app[HELD].total


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("path", "kind"), DOORS)
async def test_bodies_that_never_end_are_bounded_together(start: Start, path: bytes, kind: bytes) -> None:
    client = await start(max_held_bytes=MOST)
    writers = [await half_sent(client, path, kind) for _ in range(2)]
    await until(lambda: held(client) == 800_000)
    small = await client.post("/api/events", json=event("one"))
    large = await client.post("/api/events", data=LARGE + b"[]", headers=JSON)
    assert (small.status, large.headers["Retry-After"]) == (202, "1")
    assert "bodies that are still coming hold" in (await problem(large, 503))["detail"]
    for writer in writers:
        writer.close()
    await until(lambda: held(client) == 0)
    again = await client.post("/api/events", data=LARGE + b"[]", headers=JSON)
    assert again.status == 202


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 300_000)), max_size=60))
def test_what_is_held_is_what_the_bodies_hold(steps: list[tuple[int, int]]) -> None:
    house = HeldBytes(500_000)
    bodies, sizes = [HeldBody(house) for _ in range(6)], [0] * 6
    for which, size in steps:
        try:
            bodies[which].holds(size)
        except Refused:
            assert size > ALWAYS_TAKEN
            assert sum(sizes) - sizes[which] + size > 500_000
        else:
            sizes[which] = size
        assert house.total == sum(sizes)
    for body in bodies:
        body.__exit__(None, None, None)
    assert house.total == 0
