"""How long an erasure takes in a log of a million events, and what it does to requests beside it.

    make bench-erasure                                       a million events, 20 of them of the visitor
    make bench-erasure ARGS="--events 100000 --mine 2000"

A Redis of its own in a temporary folder holds the log and the sessions; a thread asks it for a session again and again,
as a gateway does, before and while the visitor is erased.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import orjson
import typer

from contracts.clock import wall_clock_ms
from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from gateway.erasure_work import ErasureWork
from gateway.erasures import Erasures
from gateway.settings import GatewaySettings
from nextclick.bench.report import BenchRow, expect_bench, finish
from rights.erasure import Subject, decode_erasure
from state.client import connect
from state.embedded import EmbeddedRedis

NAME, USER = "erasure", "user-who-goes"
_AT_ONCE = 2000
_A_SESSION = 10
_LONGEST_S = 60.0


def record(number: int, session: str, user: str | None) -> Record:
    event = {
        **{
            "v": 1,
            "event_id": f"e-{number}",
            "type": "view",
            "session_id": session,
            "item_id": f"item-{number % 9973}",
        },
        **{"ts": wall_clock_ms(), "context": {"device": "phone", "region": "eu"}},
    }
    return Record(session, orjson.dumps(event if user is None else {**event, "user_id": user}))


def fill(settings: GatewaySettings, events: int, mine: int) -> None:
    """Write events of ten a session, a third of them of users; those of the visitor lie among them everywhere."""
    writer = open_writer(settings.log, settings.redis)
    every, keys = max(1, events // mine), Keys(settings.redis.prefix)
    with closing(connect(settings.redis)) as redis, closing(writer):
        for start in range(0, events, _AT_ONCE):
            records, views = [], redis.pipeline(transaction=False)
            for n in range(start, min(start + _AT_ONCE, events)):
                theirs = n % every == 0
                session = f"mine-{n // every // 3}" if theirs else f"s-{n // _A_SESSION}"
                user = USER if theirs else (f"user-{n // 100}" if n % 3 == 0 else None)
                records.append(record(n, session, user))
                if n % _A_SESSION == 1:
                    at = partition_of(session, settings.log.partitions)
                    views.set(keys.session_owner(at, session), user or "nobody")
            writer.append(Topic.CLICKS, records)
            views.execute()


class Asking:
    """Asks Redis for a key again and again, and notes how long each answer took (milliseconds)."""

    def __init__(self, redis: RedisSettings) -> None:
        self._redis, self._stop, self.took_ms = redis, threading.Event(), list[float]()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        with closing(connect(self._redis)) as client:
            while not self._stop.wait(0.002):
                began = time.perf_counter()
                client.get("nobody")
                self.took_ms.append(1000 * (time.perf_counter() - began))

    def p99(self) -> float:
        return statistics.quantiles(self.took_ms, n=100)[98] if len(self.took_ms) > 100 else 0.0


def redis_cpu_s(settings: GatewaySettings) -> float:
    with closing(connect(settings.redis)) as client:
        told = client.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def measured(settings: GatewaySettings) -> list[BenchRow]:
    with Asking(settings.redis) as quiet:
        time.sleep(3)
    erasures = Erasures(settings, wall_clock_ms)
    begun = erasures.begin(Subject.USER, USER, wall_clock_ms(), {})
    began, spent, of_redis = time.monotonic(), time.process_time(), redis_cpu_s(settings)
    with Asking(settings.redis) as asked:
        ErasureWork(settings, erasures.store, "bench", wall_clock_ms).run()
    took_s, cpu_s = time.monotonic() - began, time.process_time() - spent
    of_redis = redis_cpu_s(settings) - of_redis
    raw = erasures.store.get(begun.id)
    done = decode_erasure(raw or b"")
    began = time.monotonic()
    looked = erasures.look(done).looked
    look_s = time.monotonic() - began
    erasures.store.close()
    if done.done_ms is None or looked is None or not looked.clean:
        raise SystemExit(f"expected an erasure that is done and clean, got {done} and {looked}")
    return [
        BenchRow("an erasure", took_s, "s", _LONGEST_S),
        BenchRow("processor time of the gateway, with one who asks", cpu_s, "s"),
        BenchRow("processor time of Redis", of_redis, "s"),
        BenchRow("records emptied", sum(done.removed.values()), "events"),
        BenchRow("a later look", look_s, "s"),
        BenchRow("an answer of Redis, p99, before", quiet.p99(), "ms"),
        BenchRow("an answer of Redis, p99, meanwhile", asked.p99(), "ms"),
        BenchRow("an answer of Redis, slowest, meanwhile", max(asked.took_ms), "ms"),
    ]


def main(
    events: Annotated[int, typer.Option(help="Events in the log.")] = 1_000_000,
    mine: Annotated[int, typer.Option(help="Of them of the visitor.")] = 60,
) -> None:
    """Measure an erasure."""
    expect_bench(NAME)
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder, EmbeddedRedis(Path(folder)) as server:
        log = LogSettings(partitions=8, max_backlog=2 * events, kept_records=2 * events)
        settings = GatewaySettings(redis=RedisSettings(url=server.url, timeout_ms=60_000), log=log)
        fill(settings, events, mine)
        rows = measured(settings)
    finish(NAME, rows, f"make bench-erasure ARGS='--events {events} --mine {mine}'")


if __name__ == "__main__":
    typer.run(main)
