"""What all gateway processes do now, second by second: each puts its own numbers where whoever is asked finds them.

Nobody counts by the second while nobody looks: a process then says every few seconds that it is there
(`state.presence`), and learns by the same round trip whether somebody looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson
from aiohttp import web

from contracts.errors import StateUnavailable
from contracts.keys import Keys
from contracts.redis_answers import is_other_kind, whole
from contracts.settings import RedisSettings
from gateway.background import kept_running, running
from gateway.keys import APPENDS, CLOCK, MODELS, SETTINGS
from gateway.live_figures import KEPT_STEPS, STEP_MS, Part, Step, grown, parts_of
from gateway.live_models import ranker_version
from gateway.metrics import METRICS, Metrics, Total
from state.client import redis_errors_translated
from state.presence import EVERY_S, KEPT_MS, Process, processes_of, this_process
from state.redis_line import open_line, packed

WATCHED_MS: Final = 15_000
"""How long one look keeps the processes counting."""
WITHIN_S: Final = 0.5


class Live:
    """The part of one process, and what all have put down. Belongs to its event loop."""

    def __init__(
        self, redis: RedisSettings, metrics: Metrics, clock_ms: Callable[[], int], now: Callable[[Process], Process]
    ) -> None:
        """`now` adds to what is known of this process what may change."""
        self._redis, self._metrics, self._clock_ms, self._now = redis, metrics, clock_ms, now
        self._line = open_line(redis, within_s=WITHIN_S)
        self._keys = Keys(redis.prefix)
        self._own = this_process("gateway", clock_ms())
        self._before: tuple[dict[Total, int], float] | None = None
        self._merged: dict[int, Step] = {}
        self._beats = 0
        self.watched = False

    async def follow(self, sleep: Callable[[float], Any]) -> None:
        """Say that this process is there, for ever; while somebody looks, also what it does."""
        while True:
            with suppress(StateUnavailable, TimeoutError):
                await self.beat()
            await sleep(until_beat_s(self._clock_ms()) if self.watched else EVERY_S)

    async def beat(self) -> None:
        """Put down what this process is, and what it did since the last time. Raises StateUnavailable."""
        now_ms = self._clock_ms()
        own, key = self._now(self._own.model_copy(update={"at_ms": now_ms})), self._keys.processes()
        commands: list[Sequence[bytes | str | int]] = [
            ("GET", self._keys.watched()),
            ("HSET", key, own.name, own.encoded()),
            ("PEXPIRE", key, KEPT_MS),
        ]
        if (part := self._part()) is not None:
            step = self._keys.live(now_ms // STEP_MS)
            self._beats += 1  # a field of its own: two beats that fall into one step both count
            commands += [("HSET", step, f"{own.name}/{self._beats}", orjson.dumps(part))]
            commands += [("PEXPIRE", step, KEPT_STEPS * STEP_MS)]
        answers = await self._ask(commands)
        if is_other_kind(answers[1]):
            await self._ask([("DEL", key)])  # nobody of ours wrote that: lines come back with everybody's next word
        self.watched = answers[0] is not None

    def _part(self) -> Part | None:
        """Return what grew since the last beat; None where nobody looks, or looked then."""
        if not self.watched:
            self._before = None
            return None
        totals, at_s = self._metrics.totals_by_kind(), time.monotonic()
        before, self._before = self._before, (totals, at_s)
        return None if before is None else grown(before[0], totals, at_s - before[1])

    async def look(self, since_ms: int) -> tuple[list[Step], list[Process]]:
        """Return the steps since, and the processes; have the processes count on. Raises StateUnavailable."""
        now_ms = self._clock_ms()
        last = now_ms // STEP_MS
        first = max(since_ms // STEP_MS, last - KEPT_STEPS + 1)
        wanted = [one for one in range(first, last + 1) if one not in self._merged]
        commands: list[Sequence[bytes | str | int]] = [("SET", self._keys.watched(), 1, "PX", WATCHED_MS)]
        commands += [("HGETALL", self._keys.processes())]
        commands += [("HGETALL", self._keys.live(one)) for one in wanted]
        answers = await self._ask(commands)
        if not self.watched:  # others learn of it by their next beat
            self.watched, self._before = True, (self._metrics.totals_by_kind(), time.monotonic())
        for step, answer in zip(wanted, answers[2:], strict=True):
            self._merged[step] = Step.of(step, parts_of(_pairs(answer)))
        steps = [self._merged[one] for one in range(first, last + 1)]
        for old in [one for one in self._merged if not last - KEPT_STEPS < one < last - 1]:
            del self._merged[old]  # too old, or still growing
        return steps, await self._there(_pairs(answers[1]), now_ms)

    async def _there(self, lines: dict[bytes, bytes], now_ms: int) -> list[Process]:
        processes, old = processes_of(lines, now_ms)
        if old:
            await self._ask([("HDEL", self._keys.processes(), *old)])
        return processes

    async def processes(self) -> list[Process]:
        """Return all processes of the deployment. Raises StateUnavailable."""
        [answer] = await self._ask([("HGETALL", self._keys.processes())])
        return await self._there(_pairs(answer), self._clock_ms())

    async def clicks_behind(self, processes: Sequence[Process]) -> int:
        """Return how many clicks are in the log that no session has yet. Raises StateUnavailable."""
        newest: dict[int, int] = {}
        for process in processes:
            for partition, offset in process.newest_clicks.items():
                newest[partition] = max(newest.get(partition, 0), offset)
        if not newest:
            return 0
        answers = await self._ask([("HGET", self._keys.progress(p), "next") for p in newest])
        return sum(max(0, end + 1 - (whole(at) or 0)) for end, at in zip(newest.values(), answers, strict=True))

    async def ask(self, commands: Sequence[Sequence[bytes | str | int]]) -> list[Any]:
        """Return Redis's answers; one that it refused is None. Raises StateUnavailable."""
        return [None if isinstance(one, Exception) else one for one in await self._ask(commands)]

    async def _ask(self, commands: Sequence[Sequence[bytes | str | int]]) -> list[Any]:
        with redis_errors_translated(self._redis):
            raw = b"".join(packed(tuple(map(_bytes, one))) for one in commands)
            answers: list[Any] = await self._line.call(raw, len(commands))
        return answers

    async def close(self) -> None:
        """Take this process's line away: it ends by itself."""
        with suppress(StateUnavailable, TimeoutError):
            await self._ask([("HDEL", self._keys.processes(), self._own.name)])
        await self._line.close()


def until_beat_s(now_ms: int) -> float:
    """Return the seconds until the middle of a step, so that each step has one beat of each process."""
    wait_ms = (STEP_MS * 3 // 2 - now_ms % STEP_MS) % STEP_MS
    return (wait_ms if wait_ms > STEP_MS // 4 else wait_ms + STEP_MS) / 1000


def _bytes(word: bytes | str | int) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _pairs(answer: Any) -> dict[bytes, bytes]:
    return dict(zip(answer[::2], answer[1::2], strict=True)) if isinstance(answer, list) else {}


LIVE: Final = web.AppKey("live", Live)


async def live(app: web.Application) -> AsyncIterator[None]:
    """What says that this process is there."""

    def now(own: Process) -> Process:
        models = app[MODELS]()
        serves = {
            "version": models.name or "",
            "session_model": models.version,
            "reranker": ranker_version(models),
        }
        return own.model_copy(update={"serves": serves, "newest_clicks": dict(app[APPENDS].newest_click)})

    followed = app[LIVE] = Live(app[SETTINGS].redis, app[METRICS], app[CLOCK], now)
    async with running(
        kept_running("telling of this process", lambda: followed.follow(asyncio.sleep), app[METRICS].restarts)
    ):
        yield
    await followed.close()
