"""Two processes on one port under load: restarted one after the other, no request fails; killed, hardly any."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from contracts.settings import RedisSettings
from gateway.listeners import listening
from replay.engine.http_client import HttpClient
from state.ports import free_port
from tests.gateway.test_main import status

RATE = 300.0
CONNECTIONS = 32
MOST_OPEN = 64
PATH = "/api/recommendations/homepage"


class Load:
    """Asks at a steady rate, every second time over a new connection, and counts what came of it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.outcomes: Counter[str] = Counter()
        self._stopping = False
        self._open: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        async with HttpClient(self._url, connections=CONNECTIONS) as kept:
            began, sent = time.monotonic(), 0
            while not self._stopping:
                await asyncio.sleep(max(0.0, began + sent / RATE - time.monotonic()))
                sent += 1
                if len(self._open) >= MOST_OPEN:  # the machine is too slow for the rate: that is another test's subject
                    continue
                task = asyncio.create_task(self._one(kept, fresh=sent % 2 == 1))
                self._open.add(task)
                task.add_done_callback(self._open.discard)
            await asyncio.gather(*self._open)

    async def stop(self, running: asyncio.Task[None]) -> Counter[str]:
        self._stopping = True
        await running
        return self.outcomes

    async def _one(self, kept: HttpClient, *, fresh: bool) -> None:
        headers = {"Content-Type": "application/json", **({"Connection": "close"} if fresh else {})}
        client = HttpClient(self._url, connections=1) if fresh else kept
        try:
            answer = await client.request(client.head("POST", PATH, headers), b'{"session_id":"anna"}')
            self.outcomes[str(answer.status)] += 1
        except OSError as error:
            self.outcomes[type(error).__name__] += 1
        finally:
            if fresh:
                await client.close()


class Pair:
    """Two gateway processes of one port, as a supervisor starts them."""

    def __init__(self, redis: RedisSettings) -> None:
        self.port = free_port()
        self._environment = {
            **os.environ,
            "NEXTCLICK_REDIS__URL": redis.url,
            "NEXTCLICK_REDIS__PREFIX": redis.prefix,
            "NEXTCLICK_GATEWAY__PORT": str(self.port),
            "NEXTCLICK_GATEWAY__TOGETHER": "2",
            "NEXTCLICK_GATEWAY__DEADLINE_MS": "5000",
            "NEXTCLICK_GATEWAY__DRAIN_S": "30",
        }
        self.processes = [self._start(), self._start()]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "gateway"], env=self._environment)

    async def both_listen(self) -> None:
        until = time.monotonic() + 120
        while listening(self.port) != 2:
            assert time.monotonic() < until, "two processes do not listen"
            await asyncio.sleep(0.05)

    async def restart(self, at: int, number: signal.Signals) -> None:
        self.processes[at].send_signal(number)
        code = await asyncio.to_thread(self.processes[at].wait, 120)
        assert code == (0 if number is signal.SIGTERM else -number)
        self.processes[at] = self._start()
        await self.both_listen()


@contextmanager
def two_processes(redis: RedisSettings) -> Iterator[Pair]:
    pair = Pair(redis)
    try:
        yield pair
    finally:
        for process in pair.processes:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_restarted_one_after_the_other_under_load_no_request_fails(redis_settings: RedisSettings) -> None:
    with two_processes(redis_settings) as pair:
        await pair.both_listen()
        load = Load(pair.port)
        running = asyncio.create_task(load.run())  # from the moment that it says it is ready
        await asyncio.sleep(1)
        for at in (0, 1):
            await pair.restart(at, signal.SIGTERM)
        await asyncio.sleep(1)
        outcomes = await load.stop(running)
    assert set(outcomes) == {"200"}, outcomes
    assert outcomes["200"] > 600


@pytest.mark.timeout(300)
async def test_a_killed_process_fails_no_more_than_what_it_had_taken(redis_settings: RedisSettings) -> None:
    with two_processes(redis_settings) as pair:
        await pair.both_listen()
        load = Load(pair.port)
        running = asyncio.create_task(load.run())
        await asyncio.sleep(1)
        await pair.restart(0, signal.SIGKILL)
        outcomes = await load.stop(running)
    assert outcomes["200"] > 300
    assert outcomes.total() - outcomes["200"] <= MOST_OPEN, outcomes


async def test_ready_means_every_process(redis_settings: RedisSettings) -> None:
    with two_processes(redis_settings) as pair:
        until = time.monotonic() + 120
        while status(pair.port, "/readyz") != 200:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        assert listening(pair.port) == 2
        pair.processes[0].kill()
        pair.processes[0].wait()
        assert (listening(pair.port), status(pair.port, "/readyz")) == (1, 200)
