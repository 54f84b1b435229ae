"""One flow on several machines, which are loopback addresses here: lost ones, stalled ones, more and fewer of them.
What comes of it is compared with the log, read plainly: nothing lost, nothing twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import orjson
import pytest

from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings, ServiceSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from replay.reference.compare import Reference, compare
from state.client import connect
from state.flow_members import HERE_MS
from state.ports import free_port
from tests.nextclick.test_flow_workers import applied, clicks_of, workers_of
from tests.processes import ROOT, alive, wait_for

pytestmark = pytest.mark.slow


def environment(settings: ServiceSettings) -> Mapping[str, str]:
    log = settings.log
    kafka = (
        {
            "NEXTCLICK_LOG__KIND": "kafka",
            "NEXTCLICK_LOG__KAFKA": log.kafka,
            "NEXTCLICK_LOG__TOPIC_PREFIX": log.topic_prefix,
        }
        if log.kind == "kafka"
        else {}
    )
    return kafka | {
        "NEXTCLICK_REDIS__URL": settings.redis.url,
        "NEXTCLICK_REDIS__PREFIX": settings.redis.prefix,
        "NEXTCLICK_LOG__PARTITIONS": str(log.partitions),
        "NEXTCLICK_TREND__EMIT_INTERVAL_MS": "100",
        "NEXTCLICK_FLOW__BATCH_RECORDS": "20",
    }


class Machine:
    """`nextclick flow` and the processes that it starts: what a machine of that flow is."""

    def __init__(self, settings: ServiceSettings, *arguments: str, **more: str) -> None:
        command = [sys.executable, "-m", "nextclick", "flow", *arguments]
        self.process = subprocess.Popen(command, env={**os.environ, **environment(settings), **more}, cwd=ROOT)

    @property
    def pids(self) -> set[int]:
        return {self.process.pid, *workers_of(self.process)}

    def signal(self, number: int) -> None:
        for pid in sorted(self.pids):  # the command first: it must not start others
            os.kill(pid, number)

    def lose(self) -> None:
        """Lose it: nothing of it says a last word."""
        pids = self.pids
        self.signal(signal.SIGKILL)
        self.process.wait()
        wait_for(lambda: not any(map(alive, pids)))

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(30) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.lose()


class Clicks:
    """Clicks that come all the time, a session's each other; `wait` for those so far."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings, self._stopped = settings, threading.Event()
        self.count = 0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        writer = open_writer(self._settings.log, self._settings.redis)
        while not self._stopped.wait(0.02):
            self.count += len(writer.append(Topic.CLICKS, [click(n) for n in range(self.count, self.count + 10)]))
        writer.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def click(n: int) -> Record:
    session = f"s{n % 40}"
    fields = {"item_id": "ab"[n % 2], "ts": time.time_ns() // 1_000_000}
    return Record(session, orjson.dumps({"v": 1, "event_id": f"e{n}", "type": "view", "session_id": session} | fields))


def members(redis: RedisSettings, flow: str) -> int:
    client = connect(redis)
    try:
        return client.zcard(Keys(redis.prefix).flow_members(flow))
    finally:
        client.close()


def wait_until_applied(redis: RedisSettings, coming: Clicks) -> float:
    """Return how many seconds it took until all was applied that was there when this was called."""
    began, count = time.monotonic(), coming.count
    wait_for(lambda: applied(redis) >= count)
    return time.monotonic() - began


def wait_until_counted(redis: RedisSettings, coming: Clicks) -> float:
    """Return how many seconds it took until the trends have some clicks more than there were when this was called."""
    began, count = time.monotonic(), coming.count + 100
    wait_for(lambda: clicks_of(redis, "a") >= count // 2)
    return time.monotonic() - began


def differences(settings: ServiceSettings) -> Sequence[str]:
    found = compare(Reference.of(settings), settings, trends=False, states=False)
    return [*found.said, *([f"{found.lost} lost, {found.twice} twice"] if found.lost or found.twice else [])]


def sessions_of_two_machines(settings: ServiceSettings) -> None:
    """Have two machines share the clicks; lose one, stall the other when the first is back, and stop both as one."""
    redis = settings.redis
    with ExitStack() as ending:
        coming = ending.enter_context(Clicks(settings))
        first = ending.enter_context(Machine(settings, "sessions"))
        second = ending.enter_context(Machine(settings, "sessions", "--workers", "2"))
        wait_for(lambda: members(redis, "sessions") == 3)
        wait_until_applied(redis, coming)
        second.lose()
        wait_for(lambda: members(redis, "sessions") == 1)
        wait_until_applied(redis, coming)  # the first has them all
        second = ending.enter_context(Machine(settings, "sessions"))
        wait_for(lambda: members(redis, "sessions") == 2)
        first.signal(signal.SIGSTOP)  # in the middle of whatever it does
        wait_for(lambda: members(redis, "sessions") == 1)
        wait_until_applied(redis, coming)  # the second has them all
        first.signal(signal.SIGCONT)  # and writes what it had in hand, which is refused
        wait_for(lambda: members(redis, "sessions") == 2)
        wait_until_applied(redis, coming)
        pids = first.pids | second.pids
        first.stop()
        coming.stop()
        wait_until_applied(redis, coming)
        second.stop()
        assert not any(map(alive, pids))


def test_lost_and_stalled_machines_lose_nothing_and_apply_nothing_twice(redis_settings: RedisSettings) -> None:
    settings = ServiceSettings(redis=redis_settings, log=LogSettings(partitions=4))
    sessions_of_two_machines(settings)
    assert differences(settings) == []


@pytest.mark.long
def test_so_it_is_with_kafka(redis_settings: RedisSettings, kafka_log_settings: LogSettings) -> None:
    settings = ServiceSettings(redis=redis_settings, log=kafka_log_settings)
    sessions_of_two_machines(settings)
    assert differences(settings) == []


def test_trends_go_from_one_machine_to_three_and_to_two_and_count_each_click_once(
    redis_settings: RedisSettings, tmp_path: Path
) -> None:
    settings = ServiceSettings(redis=redis_settings, log=LogSettings(partitions=4))
    port = free_port()

    def machine(number: int, of: int) -> Machine:
        addresses = ",".join(f"127.0.0.{2 + one}:{port}" for one in range(of))
        given = ("trends", "--index", str(number), "--recovery", str(tmp_path / str(number)))
        return Machine(settings, *given, NEXTCLICK_FLOW__ADDRESSES=addresses)

    with Clicks(settings) as coming, machine(0, 1) as first:
        wait_until_counted(redis_settings, coming)
        first.stop()
        with ExitStack() as ending:
            three = [ending.enter_context(machine(number, 3)) for number in range(3)]
            wait_until_counted(redis_settings, coming)
            three[1].lose()  # the others wait for it
            three[1] = ending.enter_context(machine(1, 3))
            wait_until_counted(redis_settings, coming)
            pids = set.union(*(one.pids for one in three))
            three[2].stop()
            three[0].stop()
            three[1].stop()
            assert not any(map(alive, pids))
        with machine(0, 2), machine(1, 2):
            wait_until_counted(redis_settings, coming)
            coming.stop()
            half = coming.count // 2
            wait_for(lambda: clicks_of(redis_settings, "a") >= half and clicks_of(redis_settings, "b") >= half)
            time.sleep(0.3)  # for what may be counted twice
    assert (clicks_of(redis_settings, "a"), clicks_of(redis_settings, "b")) == (half, half)


def test_a_lost_machine_is_missed_for_seconds() -> None:
    assert HERE_MS == 5_000  # docs/machines.md says so
