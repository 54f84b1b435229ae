"""Single events driven at an even rate from one core: what the benchmarks of replay and of recording share."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replay.engine.play import Played


@contextmanager
def one_core() -> Iterator[None]:
    """Hold this process to one core, not the target's."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Drive:
    """One run. `error_ms` is how late requests were sent, p99; `cpu_us` the sender's processor time a request."""

    played: Played
    error_ms: float
    cpu_us: float


def drive(
    url: str, rate: float, count: int, connections: int = 64, *, pinned: bool = True, run: str = "bench"
) -> Drive:
    """Send `count` single events at `rate`, of sessions of a few events each; on one core when `pinned`."""
    import numpy as np
    import uvloop

    from replay.engine.http_client import HttpClient
    from replay.engine.play import Limits, Player
    from replay.engine.targets import GatewayTarget

    async def played() -> Played:
        async with HttpClient(url, connections=connections) as http:
            await asyncio.gather(*(http.request(http.head("GET", "/")) for _ in range(connections)))
            limits = Limits(connections=connections, batch=1)
            return await Player(GatewayTarget(http), limits=limits).play(evenly(rate, count, run))

    before = resource.getrusage(resource.RUSAGE_SELF)
    with one_core() if pinned else nullcontext():
        found = uvloop.run(played())
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    intended, sent, _ = found.timings.columns()
    return Drive(found, float(np.percentile(sent - intended, 99)) * 1000.0, spent / count * 1e6)


def evenly(rate: float, count: int, run: str = "bench") -> Iterator[Any]:
    """Yield a plan through the engine's own schedule, from events as a recording has them."""
    import orjson

    from contracts.clock import wall_clock_ms
    from replay.engine.pacer import FixedRate
    from replay.engine.schedule import Rewriting, schedule

    visitors = max(1, round(rate))  # a session's next event is due a second later
    lines = (
        orjson.dumps(
            {"v": 1, "event_id": f"e{n}", "type": "view", "session_id": f"s{n % visitors}-{n // visitors // 4}"}
            | {"item_id": f"i{n % 1000}", "ts": 1_700_000_000_000 + n}
        )
        for n in range(count)
    )
    return schedule(lines, FixedRate(rate), Rewriting(run), start_ms=wall_clock_ms())
