"""How far each flow has read the log, and what was trimmed before it read it: written by flows, shown by gateways.

Nothing resumes from here. It lies in Redis also where the log is Kafka, so that a gateway can tell without a broker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Final, NamedTuple

from contracts.errors import StateUnavailable
from contracts.keys import Keys
from contracts.redis_answers import REFUSALS, advice, code_of, whole
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.redis_line import open_line, packed

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


class StateWatch:
    """What a gateway asks of Redis beside its requests, from an event loop. `within_s` bounds an answer."""

    def __init__(self, settings: RedisSettings, *, within_s: float) -> None:
        self._settings = settings
        self._line = open_line(settings, within_s=within_s)
        keys = Keys(settings.prefix)
        self._key, self._probe = keys.read_progress().encode(), keys.probe().encode()

    async def told(self) -> Told:
        """Return what flows have told. Raises StateUnavailable."""
        answer: Sequence[bytes] = await self._ask((b"HGETALL", self._key))
        return _told(zip(answer[::2], answer[1::2], strict=True))

    async def refuses(self) -> str | None:
        """Return why Redis takes no writes now (full memory, a full disk, a replica), without its address; None while
        it takes them. Writes nothing. Raises StateUnavailable when it does not answer.
        """
        try:
            await self._ask((b"SETRANGE", self._probe, b"0", b""))  # of what is not there: changes nothing
        except StateUnavailable as error:
            if isinstance(error.__cause__, Exception) and _is_refusal(error.__cause__):
                return advice(error.__cause__)
            raise
        return None

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
