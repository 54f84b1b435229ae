"""How far each flow has read the log, and what was trimmed before it read it: written by flows, shown by gateways.

Nothing resumes from here. It lies in Redis also where the log is Kafka, so that a gateway can tell without a broker.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Final, NamedTuple

from contracts.errors import StateUnavailable
from contracts.keys import Keys
from contracts.redis_answers import REFUSALS, advice, code_of, whole
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.probes import Probes
from state.redis_line import open_line, packed
from state.restore_mark import sentence

_LOST = "lost"


class ReadProgress:
    """What one flow tells of one topic, from a thread. Telling never fails: what Redis does not take is told later."""

    def __init__(self, settings: RedisSettings, flow: str, topic: str) -> None:
        self._settings, self._about = settings, f"{flow}:{topic}"
        self._key = Keys(settings.prefix).read_progress()
        self._redis = connect(settings)
        self._reached: dict[int, int] = {}
        self._lost = 0

    def tell(self, reached: Mapping[int, int], lost: int = 0) -> None:
        """Tell the next offset to read of some partitions, and of how many records more the log lost before that."""
        self._reached |= reached
        self._lost += lost
        with suppress(StateUnavailable):
            self._write()

    def _write(self) -> None:
        with redis_errors_translated(self._settings):
            if self._reached:
                self._redis.hset(self._key, mapping={f"{self._about}:{p}": at for p, at in self._reached.items()})
                self._reached = {}
            if self._lost:
                self._redis.hincrby(self._key, f"{self._about}:{_LOST}", self._lost)
                self._lost = 0

    def close(self) -> None:
        self._redis.close()


class Told(NamedTuple):
    """What flows told: the next offset by flow, topic and partition; records lost by flow and topic."""

    reached: dict[tuple[str, str, int], int]
    lost: Counter[tuple[str, str]]


READERS: Final = (
    *(("sessions", "clicks"), ("items", "items")),
    *(("trends", "clicks"), ("trends", "impressions"), ("profiles", "clicks")),
    *(("attribution", "clicks"), ("attribution", "impressions"), ("quality", "clicks")),
)
"""The flows, and the topics that they read."""


def read_told(settings: RedisSettings) -> Told:
    """Return what flows have told, to a thread. Raises StateUnavailable."""
    with redis_errors_translated(settings), closing(connect(settings)) as client:
        return _told(client.hgetall(Keys(settings.prefix).read_progress()).items())


def _told(answer: Iterable[tuple[bytes, bytes]]) -> Told:
    told = Told({}, Counter())
    for name, value in answer:
        flow, _, rest = name.decode(errors="replace").partition(":")
        topic, _, what = rest.partition(":")
        number = whole(value)
        if number is None or not (what == _LOST or what.isdecimal()):
            continue  # damage: the flow tells it again
        if what == _LOST:
            told.lost[flow, topic] = number
        else:
            told.reached[flow, topic, int(what)] = number
    return told


class Memory(NamedTuple):
    """Bytes that Redis uses, and the most that it may; 0 for no bound."""

    used: int
    most: int


class Look(NamedTuple):
    """How Redis does: why it takes no writes, without its address, None while it takes them; and what a restore into
    it means, None without one.
    """

    refuses: str | None
    restoring: str | None


class StateWatch:
    """What a gateway asks of Redis beside its requests, from an event loop. `within_s` bounds an answer."""

    def __init__(self, settings: RedisSettings, *, within_s: float) -> None:
        self._settings = settings
        self._line = open_line(settings, within_s=within_s)
        keys = Keys(settings.prefix)
        self._key, self._mark = keys.read_progress().encode(), keys.restoring().encode()
        self._probes = Probes(settings)

    async def told(self) -> Told:
        """Return what flows have told. Raises StateUnavailable."""
        answer: Sequence[bytes] = await self._ask((b"HGETALL", self._key))
        return _told(zip(answer[::2], answer[1::2], strict=True))

    async def look(self) -> Look:
        """Ask every server that should take writes whether it does (full memory, a full disk, a replica), and for a
        restore's mark, in one round trip. Writes nothing. Raises StateUnavailable when one does not answer.
        """
        with redis_errors_translated(self._settings):
            if not self._probes.are_known:
                await asyncio.to_thread(self._probes.read)
            commands = [(b"GET", self._mark), *self._probes.commands()]
            mark, *told = await self._line.call(packed(*commands), len(commands))
            for answer in (mark, *told):
                if isinstance(answer, Exception) and not _is_refusal(answer):
                    raise answer
        refusal = next((answer for answer in told if isinstance(answer, Exception)), None)
        return Look(
            refuses=None if refusal is None else advice(refusal),
            restoring=sentence(mark, "Redis") if isinstance(mark, bytes) else None,
        )

    async def memory(self) -> Memory:
        """Return how full Redis is; 0 for what it does not say. Raises StateUnavailable."""
        said: bytes = await self._ask((b"INFO", b"memory"))
        lines = dict(line.split(b":", 1) for line in said.splitlines() if b":" in line)
        return Memory(whole(lines.get(b"used_memory")) or 0, whole(lines.get(b"maxmemory")) or 0)

    async def close(self) -> None:
        await self._line.close()

    async def _ask(self, command: tuple[bytes, ...]) -> Any:
        with redis_errors_translated(self._settings):
            [answer] = await self._line.call(packed(command), 1)
            if isinstance(answer, Exception):
                raise answer
        return answer


def _is_refusal(error: Exception) -> bool:
    return code_of(error) in REFUSALS
