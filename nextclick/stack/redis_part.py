"""The embedded Redis as a part of the stack: started again on the same port and files."""

from __future__ import annotations

import subprocess
from pathlib import Path

from contracts.restarts import Fate
from state.embedded import Answer, EmbeddedRedis

_ASK_S = 0.2


class RedisPart:
    """What the supervisor keeps running. Unlike a child it can be asked: it is well once it answers."""

    name = "redis"

    def __init__(self, redis: EmbeddedRedis) -> None:
        self.fate = Fate()
        self._redis = redis

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        return self._redis.process

    @property
    def log_file(self) -> Path:
        return self._redis.log.path

    def start(self) -> None:
        """Start it, and return while it reads its files."""
        self._redis.launch()

    def well_since(self, now_s: float) -> float | None:
        """Ask it, which takes at most a moment: only done after a death."""
        return now_s if self._redis.answer(_ASK_S) is Answer.YES else None

    def stop(self) -> None:
        """Stop it in order; everything that it answered for is in its files."""
        self._redis.stop()

    def bound_log(self) -> None:
        self._redis.log.bound()

    def log_tail(self, length: int = 1500) -> str:
        return self._redis.log.tail(length)
