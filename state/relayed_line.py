"""Changes of a table from the machine's relay while there is one, else from Redis: who reads them sees no difference.

The connection to Redis stays open beside the relay's. So what is read from a relay is of the Redis that this process
knows: a relay that is lost takes nothing back, and a Redis that lost writes closes the connection to it (`made`).
"""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import redis

from contracts.settings import RedisSettings
from state.redis_line import Answers, RedisLine, open_line
from state.relay_memory import SegmentReader
from state.relay_words import hello

log = logging.getLogger("nextclick.relay")

SILENT_S: Final = 1.0
"""A relay that does not answer for so long is left."""
AGAIN_S: Final = 5.0, 15.0
"""When it is asked again: somewhere between, so that not all of a machine's gateways come at once."""
_LEAVES: Final = (OSError, TimeoutError, ValueError, redis.RedisError)


class RelayedLine:
    """As a RedisLine with raw answers, for the commands by which one table is followed."""

    def __init__(self, settings: RedisSettings, relay: str, table: str, stream: bytes) -> None:
        """`relay`: the path of its socket; `stream`: the key of the table's changes."""
        own = settings.model_copy(update={"url": f"unix://{relay}", "kind": "single", "wait_replicas": 0})
        self._direct = open_line(settings, raw=True)
        self._relay = RedisLine(own, within_s=SILENT_S, raw=True, hello=[hello(settings, stream)])
        self._memory, self._table = SegmentReader(), table
        self.on_relay = False
        self._enter_at, self._said = 0.0, ""

    @property
    def made(self) -> int:
        """Connections to Redis, so far. The relay's do not count."""
        return self._direct.made

    async def call(self, commands: bytes, count: int) -> Answers:
        """As `RedisLine.call`. Of a relay that does not answer as it should, the same is asked of Redis."""
        if self.on_relay:
            with suppress(*_LEAVES):
                return [self._told(one) for one in await self._relay.call(commands, count, again=False)]
            await self.leave(random.uniform(*AGAIN_S))
        answers = await self._direct.call(commands, count)
        if not self.on_relay and monotonic() >= self._enter_at:
            await self._enter()
        return answers

    def _told(self, answer: Any) -> Any:
        """Return an answer as Redis would give it: a place in the relay's memory is what stands there."""
        if isinstance(answer, Exception):
            raise answer
        return self._memory.read(answer) if isinstance(answer, bytes) and b" " in answer else answer

    async def leave(self, pause_s: float = 0.0) -> None:
        """Ask Redis next, and the relay again after a pause."""
        if self.on_relay and pause_s:
            log.warning("the relay does not bring %s now: Redis is asked itself", self._table)
            self._said = ""  # so that it is said when it does again
        self.on_relay, self._enter_at = False, monotonic() + pause_s
        await self._relay.close()

    async def close(self) -> None:
        await self._relay.close()
        await self._direct.close()

    async def _enter(self) -> None:
        try:
            await self._relay.open()
        except _LEAVES as error:
            self._enter_at = monotonic() + random.uniform(*AGAIN_S)
            self._say(f"the relay does not bring {self._table}: {error}; Redis is asked itself")
        else:
            self.on_relay = True
            self._say(f"the relay brings {self._table}")

    def _say(self, what: str) -> None:
        if what != self._said:
            log.info(what)
        self._said = what
