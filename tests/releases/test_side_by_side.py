"""The last release and this one on one state, under traffic: up by a rolling restart, down by blue and green."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.keys import CATALOGUE
from contracts.settings import RedisSettings
from gateway.listeners import listening
from nextclick.stack.client import Client
from nextclick.stack.shop_models import ARTIFACTS
from replay.synthetic.shoppers import default_shop
from state.ports import free_port
from state.sessions import SessionStore
from state.tables import TableReader
from tests.gateway.test_main import status
from tests.releases.last import ROOT, ROWS, asked, code_of, environment_of, kept
from tests.releases.rows import read, written
from tests.releases.traffic import Traffic
from tests.test_end_to_end import line

FLOWS = ("sessions", "items", "profiles", "trends")
PARTITIONS = 4
ITEMS = 200

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the last release; skips where the history does not have it."""
    commit, folder = kept()["commit"], tmp_path_factory.mktemp("last")
    if not code_of(commit, folder):
        pytest.skip(f"the history here does not have the last release ({commit}): fetch all of it")
    found = asked(folder, "-c", "import contracts.codec, json; print(json.dumps(contracts.codec.__file__))")
    assert Path(found).is_relative_to(folder), "expected the last release to run its own code"
    return folder


def test_the_last_release_reads_what_this_one_writes_and_this_one_what_it_writes(last: Path) -> None:
    rows = written()
    assert asked(last, str(ROWS), "read", given=rows) == read(rows)
    theirs = asked(last, str(ROWS), "write")
    assert read(theirs) == asked(last, str(ROWS), "read", given=theirs)


class Side:
    """Processes of one release."""

    def __init__(self, folder: Path, redis: RedisSettings) -> None:
        self._folder = folder
        self._environment = {
            **environment_of(folder),
            "NEXTCLICK_REDIS__URL": redis.url,
            "NEXTCLICK_REDIS__PREFIX": redis.prefix,
            "NEXTCLICK_LOG__PARTITIONS": str(PARTITIONS),
            "NEXTCLICK_ARTIFACTS": str(ARTIFACTS),
            "NEXTCLICK_GATEWAY__DEADLINE_MS": "10000",
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str, port: int = 0) -> None:
        environment = {**self._environment, "NEXTCLICK_GATEWAY__PORT": str(port)}
        command = (sys.executable, "-P", "-m", *command)
        self.running[name] = subprocess.Popen(command, env=environment, cwd=self._folder)

    def start_flow(self, name: str) -> None:
        self.start(name, "nextclick", "flow", name)

    async def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 120) == 0

    def kill(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


@contextmanager
def sides(last: Path, redis: RedisSettings) -> Iterator[tuple[Side, Side]]:
    old, new = Side(last, redis), Side(ROOT, redis)
    try:
        yield old, new
    finally:
        old.kill()
        new.kill()


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 240) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"gave up waiting: {what}"
        await asyncio.sleep(0.05)


async def ready(port: int, side: Side) -> None:
    def is_ready() -> bool:
        return listening(port) not in (0, None) and status(port, "/readyz") == 200

    end = time.monotonic() + 240
    while not await asyncio.to_thread(is_ready):
        assert time.monotonic() < end, "the gateway is not ready"
        assert [name for name, process in side.running.items() if process.poll() is not None] == []
        await asyncio.sleep(0.05)


async def flows_change(away: Side, to: Side, traffic: Traffic) -> None:
    """One flow after the other: its old process ends, then its new one begins. Traffic goes on."""
    for name in FLOWS:
        await away.stop(name)
        await traffic.more(2)
        to.start_flow(name)
    fresh = traffic.outcomes["fresh"]
    await until(lambda: traffic.outcomes["fresh"] >= fresh + 20, "answers know of their clicks again")


@pytest.mark.timeout(900)
async def test_up_and_down_again_under_traffic_no_request_fails_and_no_event_is_lost(
    last: Path, redis_settings: RedisSettings
) -> None:
    blue, green = free_port(), free_port()
    shop = default_shop().items[:ITEMS]
    with sides(last, redis_settings) as (old, new):
        for name in FLOWS:
            old.start_flow(name)
        old.start("gateway", "gateway", port=blue)
        await ready(blue, old)
        await asyncio.to_thread(load, blue, [line(*one) for one in shop])
        traffic = Traffic(blue, [item_id for item_id, _ in shop])
        running = asyncio.create_task(traffic.run())
        await traffic.more(40)

        new.start("gateway", "gateway", port=blue)  # up: a rolling restart on one port, gateways first
        await until(lambda: listening(blue) == 2, "both releases listen")
        await traffic.more(40)
        await flows_change(old, new, traffic)  # both gateways answer meanwhile
        await old.stop("gateway")
        await traffic.more(40)
        upgraded = +traffic.clicks

        old.start("gateway", "gateway", port=green)  # down: green stands beside blue, and the balancer turns
        await ready(green, old)
        await flows_change(new, old, traffic)
        traffic.port = green
        await traffic.more(40)
        await new.stop("gateway")
        await traffic.more(20)
        traffic.stop()
        await running

        sys.stderr.write(f"{traffic.steps} steps: {dict(traffic.outcomes)}\n")
        assert traffic.failed == {}
        assert traffic.forgot == []
        assert all(traffic.clicks[session] > count for session, count in upgraded.items())
        await until(lambda: applied(redis_settings)["applied"] == traffic.clicks.total(), "all is applied")
        assert +applied(redis_settings) == {"applied": traffic.clicks.total()}
        await asyncio.to_thread(expect_all_known, green, traffic)
        assert put_in(redis_settings, traffic) == traffic.put


def load(port: int, lines: list[bytes]) -> None:
    with Client(f"http://127.0.0.1:{port}") as client:
        assert client.put_items(lines)["visible"] is True


def expect_all_known(port: int, traffic: Traffic) -> None:
    """Expect each session to have every click that was acknowledged, from first to last."""
    with Client(f"http://127.0.0.1:{port}") as client:
        for session, count in traffic.clicks.items():
            answer = client.recommend("homepage", session, after=traffic.tokens[session])
            assert (answer["session"]["events"], answer["degraded"]) == (count, [])


def applied(redis: RedisSettings) -> Counter[str]:
    """Return what became of all clicks, over all partitions."""
    store = SessionStore(redis, idle_gap_ms=1)
    counts = Counter[str]()
    for partition in range(PARTITIONS):
        counts.update(store.progress(partition).counts)
    store.close()
    return counts


def put_in(redis: RedisSettings, traffic: Traffic) -> dict[str, int]:
    """Return the stock of the items that the traffic put, as the catalogue has it."""
    from contracts.codec import decode_row

    reader = TableReader(redis, CATALOGUE)
    rows = (decode_row(raw) for page in reader.rows() for _, raw in page)
    found = {one.item_id: one.stock for one in rows if one.item_id in traffic.put}
    reader.close()
    return found
