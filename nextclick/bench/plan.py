"""What `nextclick plan` needs that no other benchmark tells, and what its predictions are compared with.

    python -m nextclick.bench.plan [--only served,rows,workers] [--seconds 8] [--items 18000]

`served`: stacks with one gateway and with two at 100 and 300 requests/s: processor time a request, p99, memory, bytes
in Redis, in the log and on the network. `rows`: what a row of the trends table costs who writes and who follows it.
`workers`: a backlog of clicks applied by one sessions worker and by two. Processor time is the operating system's
account. Writes build/bench/plan.json; parts that were left out keep their rows of before.
"""

from __future__ import annotations

import argparse
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from contracts.codec import EndedSession, encode_ended
from contracts.keys import CATALOGUE, Keys
from eventlog.contract import Topic
from nextclick.bench.accounting import look, pids_of, spent_between, until_calm
from nextclick.bench.load import attack
from nextclick.bench.plan_rows import full_trend, row_rows
from nextclick.bench.plan_workers import worker_rows
from nextclick.bench.profile import MOST_OTHERS, question_targets
from nextclick.bench.report import BENCH_FOLDER, BenchRow, console, expect_bench, finish
from nextclick.bench.running import running_stack
from nextclick.bench.serving_runs import Driven, RatePoint
from nextclick.bench.shop_traffic import load_traffic, make_traffic
from nextclick.plan.predicted import CHECK, OTHERS, SERVED, row_name
from nextclick.stack.client import Client
from nextclick.stack.shop_models import ARTIFACTS
from state.client import connect

if TYPE_CHECKING:
    from nextclick.stack.stack import Stack

PARTS: Final = ("served", "rows", "workers")
SESSIONS: Final = 3_000
SAMPLED: Final = 400
ENTRY: Final = 64
"""Bytes that Redis takes for an entry of a hash beside its value, about: the key, the entry, rounding."""
_HEADERS: Final = 350
"""Bytes of a request's and of an answer's headers, as a browser and the gateway write them, about."""


def served_rows(items: int, seconds: float) -> list[BenchRow]:
    """Return what requests cost stacks of one gateway and of two, and of the first one the bytes of everything."""
    rows: list[BenchRow] = []
    traffic = make_traffic(items, SESSIONS)
    for gateways in sorted({count for count, _ in SERVED}):
        with ExitStack() as open_:
            stack = open_.enter_context(running_stack(ARTIFACTS, gateways=gateways))
            client = open_.enter_context(Client(stack.url))
            load_traffic(console, client, stack, traffic)
            driven = Driven(open_.enter_context(question_targets(stack, traffic)), pids_of(stack))
            attack(driven.targets, 50.0, 5.0)
            for rate in (rate for count, rate in SERVED if count == gateways):
                until_calm(driven.pids, within_s=20.0)
                before = look(driven.pids)
                rows += point_rows(gateways, driven.at(rate, seconds))
                others = spent_between(before, look(driven.pids)).others_cores
                rows.append(BenchRow(row_name(gateways, rate, OTHERS), others, "cores", MOST_OTHERS))
            if gateways == 1:
                rows += memory_rows(stack)
                rows += byte_rows(stack, client, traffic.sessions[0])
    return rows


def point_rows(gateways: int, point: RatePoint) -> list[BenchRow]:
    """Return the figures of a rate, by part."""

    def row(what: str, value: float, unit: str = "us a request") -> BenchRow:
        return BenchRow(row_name(gateways, point.rate, what), value, unit)

    of_gateways = sum(used for name, used in point.cpu_us.items() if name.startswith("gateway"))
    named = [row(name, point.cpu_us[part]) for name, part in (("Redis", "redis"), ("trends flow", "trends"))]
    lost = float(point.sent - point.answered)
    return [
        row("gateways", of_gateways),
        *named,
        row("all processes", point.total_us),
        row("p50", point.p50, "ms"),
        row("p99", point.p99, "ms"),
        row("lost or refused", lost, "requests"),
    ]


def memory_rows(stack: Stack) -> list[BenchRow]:
    """Return the resident memory of a gateway and of the largest flow."""
    held = {name: usage.resident_bytes / 1e6 for name, usage in look(pids_of(stack)).by_name.items()}
    gateway = max(size for name, size in held.items() if name.startswith("gateway"))
    flow = max(size for name, size in held.items() if name in ("sessions", "trends", "profiles", "items"))
    return [BenchRow("a gateway process: memory", gateway, "MB"), BenchRow("the largest flow: memory", flow, "MB")]


def byte_rows(stack: Stack, client: Client, session: str) -> list[BenchRow]:
    """Return bytes: what Redis keeps of each thing, values of the log, questions and answers."""
    redis = stack.running_settings.redis
    keys = Keys(redis.prefix)
    with connect(redis) as open_:
        raw: Any = open_
        kinds = {"a session": keys.session, "an owner": keys.session_owner}
        rows = [BenchRow(f"{kind} in Redis", _mean_of(raw, of(0, "*")), "bytes") for kind, of in kinds.items()]
        table = keys.table_rows(CATALOGUE)
        held, count = raw.memory_usage(table, samples=SAMPLED) or 0, raw.hlen(table)
        rows.append(BenchRow("an item in Redis", held / max(1, count), "bytes"))
        rows.append(BenchRow("a full row of trends in Redis", float(len(full_trend()) + ENTRY), "bytes"))
        rows.append(BenchRow("a full ended session in Redis", float(len(full_ended()) + ENTRY), "bytes"))
        for what, topic in (("a click", Topic.CLICKS), ("an impression", Topic.IMPRESSIONS)):
            entries = raw.xrevrange(keys.log(topic, 0), count=SAMPLED)
            sizes = [sum(map(len, fields.values())) for _, fields in entries]
            rows.append(BenchRow(f"{what} in the log", sum(sizes) / max(1, len(sizes)), "bytes"))
    posted = next((row.value for row in rows if row.name == "a click in the log"), 0.0)
    answer = client.recommend("homepage", session)
    asked = {"session_id": session, "limit": 20, "placement": "homepage"}
    return [
        *rows,
        BenchRow("a question on the network", float(_HEADERS + len(orjson.dumps(asked))), "bytes"),
        BenchRow("a POST of one click on the network", _HEADERS + posted, "bytes"),
        BenchRow("an answer on the network", float(_HEADERS + len(orjson.dumps(answer))), "bytes"),
    ]


def full_ended() -> bytes:
    """Return the row of an ended session of twenty clicks."""
    return encode_ended(EndedSession(0, np.arange(20, dtype=np.uint64), 1))


def _mean_of(raw: Any, pattern: str) -> float:
    """Return the mean bytes of the keys of a pattern, a sample of them, names and expiry counted."""
    escaped = pattern.replace("[", "\\[")
    found = [key for _, key in zip(range(SAMPLED), raw.scan_iter(match=escaped, count=1000), strict=False)]
    sizes = [raw.memory_usage(key) or 0 for key in found]
    return sum(sizes) / max(1, len(sizes))


def kept_rows(parts: set[str], path: Path = BENCH_FOLDER / f"{CHECK}.json") -> dict[str, list[BenchRow]]:
    """Return the rows of parts that are not measured now, from the file of before."""
    if not path.exists() or parts == set(PARTS):
        return {}
    rows = orjson.loads(path.read_bytes())["rows"]
    found = [BenchRow(row["name"], row["value"], row["unit"]) for row in rows]
    return {part: [row for row in found if part_of(row.name) == part] for part in PARTS if part not in parts}


def part_of(name: str) -> str:
    """Return the part of this benchmark that a row is of."""
    if "worker" in name:
        return "workers"
    return "rows" if name.startswith("trends: ") else "served"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.plan", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each rate")
    parser.add_argument("--items", type=int, default=18_000)
    parser.add_argument("--clicks", type=int, default=60_000, help="of the backlog")
    options = parser.parse_args()
    parts = set(options.only.split(","))
    if not parts <= set(PARTS) or not math.isfinite(options.seconds) or options.seconds <= 0:
        parser.error(f"expected parts of {', '.join(PARTS)} and seconds above 0, got {options.only}")
    expect_bench(CHECK)
    found = kept_rows(parts)
    if "served" in parts:
        found["served"] = served_rows(options.items, options.seconds)
    if "rows" in parts:
        found["rows"] = row_rows(options.seconds)
    if "workers" in parts:
        found["workers"] = worker_rows(options.clicks)
    rows = [row for part in PARTS for row in found.get(part, [])]
    finish(CHECK, rows, f"make bench-plan ARGS='--only {options.only} --seconds {options.seconds:g}'")


if __name__ == "__main__":
    main()
