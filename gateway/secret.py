"""The secret that all gateways of a deployment sign with: made by the first one that asks, kept in Redis."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Final

from contracts.errors import StateUnavailable
from contracts.keys import Keys
from contracts.outage import Outage
from contracts.settings import RedisSettings
from state.client import redis_errors_translated
from state.redis_line import RedisLine, open_line, packed

log = logging.getLogger("nextclick.gateway")

_BYTES: Final = 32
_AGAIN_S: Final = 1.0


class Secret:
    """Until Redis has told the deployment's secret, this process signs with one of its own: its cursors are good here
    alone.
    """

    def __init__(self, settings: RedisSettings, random: Callable[[int], bytes] = os.urandom) -> None:
        self._settings, self._random = settings, random
        self.value = random(_BYTES)

    async def learn(self) -> None:
        """Ask until Redis answers; then there is nothing left to do."""
        outage = Outage(log, "cursors are good in this process alone: ")
        line, key = open_line(self._settings), Keys(self._settings.prefix).secret().encode()
        try:
            while True:
                try:
                    await self._learn(line, key)
                    break
                except (StateUnavailable, TimeoutError) as error:
                    outage.failed(error)
                    await asyncio.sleep(_AGAIN_S)
            outage.over()
        finally:
            await line.close()
        await asyncio.Event().wait()

    async def _learn(self, line: RedisLine, key: bytes) -> None:
        with redis_errors_translated(self._settings):
            answers = await line.call(packed((b"SETNX", key, self._random(_BYTES)), (b"GET", key)), 2)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        if answers[1]:
            self.value = answers[1][:64]
