"""Shares of bandit experiments in Redis: the judge writes them, gateways read them. What they say: `contracts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.redis_line import open_line, packed


class SharesWriter:
    """For one thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings, self._redis, self._keys = settings, connect(settings), Keys(settings.prefix)

    def write(self, name: str, record: bytes) -> None:
        with redis_errors_translated(self._settings):
            self._redis.set(self._keys.bandit_shares(name), record)

    def forget(self, name: str) -> None:
        with redis_errors_translated(self._settings):
            self._redis.unlink(self._keys.bandit_shares(name))

    def close(self) -> None:
        self._redis.close()


class SharesReader:
    """From an event loop. Raises StateUnavailable, TimeoutError."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings, self._keys = settings, Keys(settings.prefix)
        self._line = open_line(settings)

    async def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Return the record of each experiment, in one round trip; None where there is none."""
        commands = [(b"GET", self._keys.bandit_shares(name).encode()) for name in names]
        with redis_errors_translated(self._settings):
            answers: list[Any] = await self._line.call(packed(*commands), len(commands))
        return [answer if isinstance(answer, bytes) else None for answer in answers]

    async def close(self) -> None:
        await self._line.close()
