"""The sessions flow as it runs, in processes of its own, on a real Redis: nothing lost, nothing applied twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from contracts.ids import partition_of
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from state.embedded import EmbeddedRedis
from state.ports import free_port
from state.sessions import SessionStore

ROOT = Path(__file__).parents[2]
LOG = LogSettings(partitions=4)
SESSIONS = 20


@contextmanager
def worker(redis_settings: RedisSettings, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    env = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis_settings.url,
        "NEXTCLICK_REDIS__PREFIX": redis_settings.prefix,
        "NEXTCLICK_LOG__PARTITIONS": str(LOG.partitions),
        "NEXTCLICK_FLOW__BATCH_RECORDS": "50",
    }
    command = [sys.executable, "-m", "bytewax.run", "flows.sessions:flow", *arguments]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def append_clicks(redis_settings: RedisSettings, count: int, first: int = 0) -> None:
    """Append clicks number `first` to `first + count`, spread over the sessions, fifty a round trip."""
    writer = open_writer(LOG, redis_settings)
    now_ms = time.time_ns() // 1_000_000
    for start in range(first, first + count, 50):
        writer.append(Topic.CLICKS, [record(n, now_ms + n) for n in range(start, min(start + 50, first + count))])
    writer.close()


def record(n: int, ts: int) -> Record:
    session = f"s{n % SESSIONS}"
    event = {"v": 1, "event_id": f"e{n}", "type": "view", "session_id": session, "item_id": f"i{n % 7}", "ts": ts}
    return Record(session, orjson.dumps(event))


def counted(redis_settings: RedisSettings) -> dict[str, int]:
    store = SessionStore(redis_settings, idle_gap_ms=1)
    sums: dict[str, int] = {}
    for partition in range(LOG.partitions):
        for name, n in store.progress(partition).counts.items():
            sums[name] = sums.get(name, 0) + n
    store.close()
    return sums


def events_by_session(redis_settings: RedisSettings) -> set[int]:
    store = SessionStore(redis_settings, idle_gap_ms=1)
    names = [f"s{n}" for n in range(SESSIONS)]
    found = [store.load(partition_of(name, LOG.partitions), [name]).sessions[name].events for name in names]
    store.close()
    return set(found)


def wait_for(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "gave up waiting"
        time.sleep(0.02)


def test_a_worker_killed_again_and_again_loses_nothing_and_repeats_nothing(redis_settings: RedisSettings) -> None:
    append_clicks(redis_settings, 2000)
    for round_, killed_after in enumerate((50, 300, 700)):
        with worker(redis_settings) as process:
            wait_for(lambda least=killed_after: counted(redis_settings).get("applied", 0) >= least)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            process.wait()
        append_clicks(redis_settings, 1000, first=2000 + 1000 * round_)
    with worker(redis_settings):
        wait_for(lambda: counted(redis_settings).get("applied", 0) >= 5000)
        time.sleep(0.2)
    assert counted(redis_settings) == {"applied": 5000}
    assert events_by_session(redis_settings) == {5000 // SESSIONS}


def test_two_workers_on_the_same_partitions_apply_everything_once(redis_settings: RedisSettings) -> None:
    with worker(redis_settings), worker(redis_settings):
        append_clicks(redis_settings, 4000)
        wait_for(lambda: counted(redis_settings).get("applied", 0) >= 4000)
        time.sleep(0.2)
    assert counted(redis_settings) == {"applied": 4000}
    assert events_by_session(redis_settings) == {4000 // SESSIONS}


def test_several_processes_share_the_partitions(redis_settings: RedisSettings) -> None:
    addresses = f"127.0.0.1:{free_port()};127.0.0.1:{free_port()}"
    append_clicks(redis_settings, 1000)
    with worker(redis_settings, "-i", "0", "-a", addresses), worker(redis_settings, "-i", "1", "-a", addresses):
        wait_for(lambda: counted(redis_settings).get("applied", 0) >= 1000)
    assert events_by_session(redis_settings) == {1000 // SESSIONS}


def test_the_flow_waits_out_a_redis_that_was_killed_and_came_back(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path).start()
    redis_settings = RedisSettings(url=server.url, prefix="killed", timeout_ms=60_000)
    try:
        with worker(redis_settings) as process:
            append_clicks(redis_settings, 1000)
            wait_for(lambda: counted(redis_settings).get("applied", 0) >= 200)
            server.kill()
            time.sleep(0.3)
            server.start()
            append_clicks(redis_settings, 1000, first=1000)
            wait_for(lambda: counted(redis_settings).get("applied", 0) >= 2000)
            assert process.poll() is None
        assert counted(redis_settings) == {"applied": 2000}
        assert events_by_session(redis_settings) == {2000 // SESSIONS}
    finally:
        server.stop()
