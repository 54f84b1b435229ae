"""The whole stack on a disk that is full, and on a Redis that is: answers from memory, 503 to writes, and then on."""

from __future__ import annotations

import http.client
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import redis

from contracts.settings import LogSettings
from nextclick.stack.client import Client
from nextclick.stack.progress import read_progress, totals
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack
from tests.small_disk import MakeDisk

FULL_S = 3.0
Filled = Callable[[], Any]
"""Makes the stack full, as a context."""


@pytest.fixture(params=["disk", "memory"])
def filled(request: pytest.FixtureRequest, make_disk: MakeDisk) -> Iterator[tuple[Stack, Filled]]:
    """A running stack, and what makes its disk, or its Redis, full."""
    disk = make_disk(24)
    options = StackOptions(port=0, folder=disk.folder / "stack")
    with Stack(StackSettings(stack=options, log=LogSettings(partitions=4))) as stack:

        @contextmanager
        def full_disk() -> Iterator[None]:
            disk.fill()
            yield
            disk.clear()

        @contextmanager
        def full_memory() -> Iterator[None]:
            with redis.Redis.from_url(stack.redis_url) as client:
                client.config_set("maxmemory", "1")
                yield
                client.config_set("maxmemory", "0")

        yield stack, full_disk if request.param == "disk" else full_memory


def view(session_id: str, item_id: str) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    ids = {"event_id": uuid.uuid4().hex, "session_id": session_id, "item_id": item_id}
    return {"v": 1, "type": "view", "ts": now_ms, **ids}


class Door:
    """Speaks to the gateway, status and headers included."""

    def __init__(self, stack: Stack) -> None:
        address = urlsplit(stack.url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)

    def post(self, path: str, body: Any, method: str = "POST") -> tuple[int, str | None]:
        """Return the status and Retry-After."""
        self._connection.request(method, path, orjson.dumps(body), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Retry-After")

    def close(self) -> None:
        self._connection.close()


def send(door: Door, number: int) -> tuple[int, str | None]:
    return door.post("/api/events", view(f"s{number % 20}", f"i{number % 7}"))


def until_refused(door: Door) -> int:
    """Send events until one is refused; return how many were taken (a file's last page takes some)."""
    for number in range(10_000):
        if send(door, number)[0] == 503:
            return number
    raise AssertionError("expected a 503 at last")


@pytest.mark.slow
def test_a_full_stack_answers_from_memory_refuses_writes_and_goes_on_by_itself(filled: tuple[Stack, Filled]) -> None:
    stack, full = filled
    assert stack.supervisor is not None
    lasting = [child for child in stack.supervisor.children if child.name != "trends"]
    processes = [child.process for child in lasting]
    with closing(Door(stack)) as door, Client(stack.url) as client:
        assert door.post("/api/items/i1", {"title": "One", "stock": 5}, "PUT")[0] == 202
        taken = sum(send(door, number)[0] == 202 for number in range(100))
        with full():
            taken += until_refused(door)
            statuses, until = set[tuple[int, str | None]](), time.monotonic() + FULL_S
            while time.monotonic() < until:
                statuses.add(send(door, 1))
                statuses.add(door.post("/api/items/i2", {"title": "Two"}, "PUT"))
                statuses.add(door.post("/api/stock", [{"item_id": "i1", "stock": 0}]))
            assert statuses == {(503, "1")}
            assert [one["product_id"] for one in client.recommend("homepage", "visitor")["recommendations"]] == ["i1"]
        taken += events_taken_again(door)
        assert door.post("/api/stock", [{"item_id": "i1", "stock": 0}])[0] == 202
        wait_until(lambda: client.recommend("homepage", "visitor")["recommendations"] == [])
        wait_until(lambda: totals(read_progress(stack.running_settings))["lag"] == 0)
    progress = totals(read_progress(stack.running_settings))
    assert progress["dead_lettered"] == 0
    assert progress["applied"] >= taken  # what a failed write left in memory was written later: nobody was promised it
    assert [child.process for child in lasting] == processes


def events_taken_again(door: Door) -> int:
    """Wait for the first event that is taken, and send more."""
    wait_until(lambda: send(door, 1)[0] == 202)
    assert {send(door, number)[0] for number in range(50)} == {202}
    return 51


def wait_until(so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not so():
        assert time.monotonic() < until
        time.sleep(0.05)
