"""Clients that are slow with their head, their body or with reading answers: others do not notice them."""

from __future__ import annotations

import asyncio
import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from contracts.settings import RedisSettings
from gateway.connections import Connection, Places, places_among
from tests.gateway.test_connections import HEALTH, NO_END
from tests.gateway.test_front import ASKED, House, opened, request
from tests.gateway.test_main import gateway

DOCUMENT = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
SCRIPT = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
KINDS = (b"GET /heal", NO_END, SCRIPT * 4)
"""Half a head, half a body, and more answers than are ever read."""

OTHER = ("127.0.0.2", 0)
"""Where another client's requests come from: every address of 127.0.0.0/8 is this machine's."""


def slow_client(port: int, what: bytes) -> socket.socket:
    """Connect, send something, and read nothing; the kernel takes as little as it can."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.settimeout(60)
    client.connect(("127.0.0.1", port))
    client.sendall(what)
    return client


@contextmanager
def other_client(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=OTHER)
    try:
        yield connection
    finally:
        connection.close()


def ask(connection: http.client.HTTPConnection) -> int:
    json = {"Content-Type": "application/json"}
    connection.request("POST", "/api/recommendations/homepage", ASKED, json)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def shown(port: int, name: str) -> float:
    with other_client(port) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(name)))


@pytest.mark.slow
@pytest.mark.parametrize("places", [0, 300], ids=["a place for each", "300 places"])
def test_500_slow_connections_starve_nobody(
    redis_settings: RedisSettings, places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTCLICK_GATEWAY__MAX_CONNECTIONS", str(places))
    with gateway(redis_settings, 1) as (running, port), ExitStack() as held:
        statuses = []
        for number in range(500):
            held.enter_context(slow_client(port, KINDS[number % len(KINDS)]))
            if number % 10 == 0:
                with other_client(port) as connection:
                    statuses += [ask(connection), ask(connection)]
        assert statuses == [200] * 100
        assert running.poll() is None
        assert shown(port, "nextclick_gateway_connections ") <= (places or 502)
        assert (shown(port, 'nextclick_gateway_connections_closed_total{why="gave_way"}') > 300) == bool(places)


@pytest.mark.slow
def test_who_does_not_read_its_answers_is_let_go(
    redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTCLICK_GATEWAY__ANSWER_TIMEOUT_S", "0.1")
    with gateway(redis_settings, 1) as (_, port), slow_client(port, DOCUMENT * 300):
        until = time.monotonic() + 120
        while not shown(port, 'nextclick_gateway_connections_closed_total{why="slow_reader"}'):
            assert time.monotonic() < until
            time.sleep(0.2)
        assert shown(port, "nextclick_gateway_connections ") == 1


async def test_who_reads_slowly_but_reads_gets_all(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, answer_timeout_s=0.05) as house:
        caller = await house.caller()
        caller.writer.write(DOCUMENT * 40)
        first = (await caller.answer())[2]
        for _ in range(39):
            await asyncio.sleep(0.02)
            assert (await caller.answer())[2] == first


async def test_a_slow_reader_gives_way_when_its_place_is_wanted(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, max_connections=3, max_connections_client=3) as house:
        slow = [await house.caller() for _ in range(3)]
        for one in slow:
            one.writer.transport.pause_reading()  # type: ignore[attr-defined]
            one.writer.write(DOCUMENT * 400)
        await asyncio.sleep(0.5)
        for _ in range(20):
            other = await house.caller()
            assert (await other.ask(HEALTH))[0] == 200
            assert (await other.ask(request()))[0] == 200


async def test_a_slow_head_is_counted(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, header_timeout_s=0.1) as house:
        caller = await house.caller()
        caller.writer.write(b"GET /heal")
        assert await caller.is_closed()
        assert 'connections_closed_total{why="slow_head"} 1.0' in await metrics(house)


async def metrics(house: House) -> str:
    caller = await house.caller()
    caller.writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return await caller.rest()


class Guest(Connection):
    """A connection as its places see it. It counts how often it is looked at."""

    looks = 0

    def __init__(self, *, rests: bool = True, slow: bool = False) -> None:
        self._rests, self._slow = rests, slow

    @property
    def rests(self) -> bool:
        Guest.looks += 1
        return self._rests

    @property
    def is_slow(self) -> bool:
        Guest.looks += 1
        return self._slow


def filled(*guests: Guest) -> Places:
    places = Places(len(guests))
    for guest in guests:
        places.add(guest)
    return places


def test_who_has_waited_longest_gives_way_then_the_oldest_that_is_slow() -> None:
    first, second, third = Guest(), Guest(slow=True), Guest(slow=True)
    places = filled(first, second, third)
    assert places.one_to_go() is first
    places.begins(first)
    assert places.one_to_go() is second
    places.begins(third)
    places.rests(first)
    assert places.one_to_go() is second
    places.begins(second)
    places.begins(first)
    assert places.one_to_go() is third
    places.discard(third)
    assert places.one_to_go() is second
    places.discard(second)
    assert places.one_to_go() is None  # the first is answered, and nobody else is there
    assert len(places) == 1


@pytest.mark.parametrize("busy", [False, True])
def test_finding_it_takes_as_many_looks_among_ten_thousand_as_among_ten(busy: bool) -> None:
    guests = [Guest(slow=True) for _ in range(10_000)]
    places = filled(*guests)
    if busy:
        for guest in guests:
            places.begins(guest)
    Guest.looks = 0
    for _ in range(5_000):
        gone = places.one_to_go()
        assert gone is not None
        places.discard(gone)
        places.add(Guest())
        places.begins(next(iter(places._resting)))
    assert Guest.looks <= 10_000


def test_where_all_are_at_work_only_so_many_are_looked_at() -> None:
    guests = [Guest() for _ in range(10_000)]
    places = filled(*guests)
    for guest in guests:
        places.begins(guest)
    Guest.looks = 0
    assert places.one_to_go() is None
    assert Guest.looks == 64


@pytest.mark.parametrize(("may_have", "places"), [(64, 128), (1024, 896), (8320, 8192), (1_000_000, 8192)])
def test_descriptors_without_end_are_not_places_without_end(may_have: int, places: int) -> None:
    assert places_among(may_have) == places
