"""What profiles cost: the flow's process by click, with and without users, and idle; a request with a profile beside
one without; the bytes of a profile.

    python -m nextclick.bench.profiles [--clicks 40000] [--rounds 400] [--seconds 10]

The flow is a process of its own, beside a sessions flow and a Redis; its processor time is the operating system's
account. A request with a profile is asked right before or after one without, for the same visitor. Writes
build/bench/profiles.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from contracts.profiles import MOST_SESSIONS, Profile, encode_profile
from contracts.sessions import CLICK, Session
from contracts.settings import LogSettings, ProfileOptions, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from gateway.users import NOBODY_KNOWN, KnownUser, Users, document_in, profile_in
from nextclick.bench.accounting import TICKS_A_SECOND
from nextclick.bench.pipeline import NOW, Shop, shop
from nextclick.bench.report import BenchRow, expect_bench, finish
from rerank.pipeline import Query
from session_model.profiles import ProfileRules, Visit, fold_visits
from state.embedded import EmbeddedRedis
from state.profiles import ProfileStore

LOG: Final = LogSettings()
ITEMS: Final = 18_000
USERS: Final = 2_000
CLICKS_A_SESSION: Final = 6
_USER, _SYSTEM = 11, 12
_SETTLE_S: Final = 3.0
_GIVE_UP_S: Final = 120.0


@contextmanager
def running(flow: str, environment: dict[str, str]) -> Iterator[int]:
    """Run one flow; yields its process."""
    command = [sys.executable, "-m", "bytewax.run", f"flows.{flow}:flow"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def cpu_us(pid: int) -> float:
    """Return the processor time that a process has used, microseconds."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[_USER]) + int(stat[_SYSTEM])) / TICKS_A_SECOND * 1e6


def clicks(count: int, first: int, *, known: bool) -> Iterator[Record]:
    """Yield clicks, half a dozen a session; of `known` users, a fifth as many as sessions."""
    now_ms = time.time_ns() // 1_000_000
    for n in range(first, first + count):
        session = f"s{n // CLICKS_A_SESSION}"
        event = {"v": 1, "event_id": f"e{n}", "type": "view", "session_id": session, "item_id": f"i{n % 997}"}
        user = {"user_id": f"u{n // CLICKS_A_SESSION % USERS}"} if known else {}
        yield Record(session, orjson.dumps({**event, **user, "ts": now_ms + n - first, "context": {"page": "p"}}))


def cost_of_flow(count: int, idle_s: float) -> list[BenchRow]:
    """Return what the profiles flow costs by click, and idle."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedRedis(Path(folder)).start()
        redis = RedisSettings(url=server.url, timeout_ms=60_000)
        environment = {**os.environ, "NEXTCLICK_REDIS__URL": server.url, "NEXTCLICK_REDIS__TIMEOUT_MS": "60000"}
        try:
            with running("sessions", environment), running("profiles", environment) as pid:
                rows, first = [], 0
                for name, known in (("start", True), ("without a user", False), ("of a known user", True)):
                    spent = _spent_us(redis, pid, count, first, known=known)
                    first += count
                    if name != "start":
                        rows.append(BenchRow(f"profiles flow, a click {name}", spent / count, "us"))
                time.sleep(_SETTLE_S)
                before = cpu_us(pid)
                time.sleep(idle_s)
                rows.append(BenchRow("profiles flow, idle, a second", (cpu_us(pid) - before) / idle_s, "us"))
        finally:
            server.stop()
    return rows


def _spent_us(redis: RedisSettings, pid: int, count: int, first: int, *, known: bool) -> float:
    """Append clicks, wait until the flow has read them, and return the processor time it took."""
    records = list(clicks(count, first, known=known))
    before = cpu_us(pid)
    writer = open_writer(LOG, redis)
    ends: dict[int, int] = {}
    for start in range(0, count, 500):
        for position in writer.append(Topic.CLICKS, records[start : start + 500]):
            ends[position.partition] = position.offset + 1
    writer.close()
    store = ProfileStore(redis, keep_ms=1)
    until = time.monotonic() + _GIVE_UP_S
    while any(store.next_offset(partition) < end for partition, end in ends.items()):
        if time.monotonic() > until:
            raise RuntimeError(f"the profiles flow did not read {count:,} clicks within {_GIVE_UP_S:.0f} s")
        time.sleep(0.05)
    store.close()
    return cpu_us(pid) - before


def profile_of(made: Shop) -> Profile:
    """Return a full profile: 100 clicks of more sessions than are kept by name."""
    random = np.random.default_rng(1)
    keys = made.state.catalogue.keys[: made.state.catalogue.count]
    profile = Profile()
    for n in range(MOST_SESSIONS + 4):
        window = np.zeros(9, CLICK)
        window["ts_ms"] = NOW - 86_400_000 * (12 - n) + np.arange(9)
        window["item"], window["event"], window["code"] = random.choice(keys, 9), random.integers(1, 2**62, 9), 1
        vector = random.normal(size=made.encoder.dim).astype(np.float32)
        visit = Visit(n, window, int(window["ts_ms"][-1]), vector / np.float32(np.linalg.norm(vector)))
        profile = fold_visits(profile, [visit], ProfileRules(), model_version=made.encoder.version)
    return profile


def cost_of_request(made: Shop, rounds: int) -> list[BenchRow]:
    """Return what a document and a profile add to a request, in pairs: decoding them, and ranking by them."""
    users, raw = Users(ProfileOptions()), encode_profile(profile_of(made))
    document = orjson.dumps({"age": 34, "region": "DE", "do_not_show": {"items": ["x"], "brands": ["brand1"]}})
    visitors: Sequence[Session] = made.visitors
    added: dict[str, list[float]] = {"without a session": [], "beside a session": []}
    for turn in range(-20, rounds):
        for name, session in (("without a session", None), ("beside a session", visitors[turn % len(visitors)])):
            took: dict[bool, float] = {}
            for known in (False, True) if turn % 2 else (True, False):
                began = time.thread_time_ns()
                user = KnownUser(document_in(document), profile_in(raw)) if known else NOBODY_KNOWN
                taste = users.taste(user, made.encoder, made.state.catalogue, NOW)
                query = Query(NOW, session=session, region="DE", learnt=taste.learnt, taste=taste.vector)
                made.pipeline.recommend([query])
                took[known] = (time.thread_time_ns() - began) / 1000
            if turn >= 0:
                added[name].append(took[True] - took[False])
    rows = [
        BenchRow(f"{ITEMS:,} items, {name}: added to a request by a profile", float(np.median(found)), "us")
        for name, found in added.items()
    ]
    return [*rows, BenchRow(f"a full profile, {made.encoder.dim} dimensions", float(len(raw)), "bytes")]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.profiles", description=__doc__)
    parser.add_argument("--clicks", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    expect_bench("profiles")
    rows = [*cost_of_request(shop(ITEMS), options.rounds), *cost_of_flow(options.clicks, options.seconds)]
    finish("profiles", rows, "make bench-profiles")


if __name__ == "__main__":
    main()
