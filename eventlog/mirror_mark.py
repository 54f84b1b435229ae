"""The mark of a copy, in its Redis: that a mirror writes it now, and how it is ended for good, and begun again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from contracts.errors import SettingsError, StateUnavailable
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated

RUNS_MS: Final = 20_000
"""A mirror that was killed is taken for one that runs for as long."""
_AGAIN_S: Final = 5.0
_MOVE: Final = """
local name = redis.call('HGET', KEYS[1], ARGV[1])
if name then
  redis.call('HSET', KEYS[1], ARGV[2], name)
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return name
"""


class MirrorMark:
    """For one thread."""

    def __init__(self, redis: RedisSettings) -> None:
        keys = Keys(redis.prefix)
        self._settings, self._redis = redis, connect(redis)
        self._mark, self._runs, self._next_s = keys.mirror(), keys.mirroring(), 0.0

    def look(self) -> None:
        """Say that a mirror runs, if it is time to. Raises nothing: a Redis that is away is told later."""
        if monotonic() >= self._next_s:
            with suppress(StateUnavailable):
                self._ask(lambda: self._redis.set(self._runs, "1", px=RUNS_MS))
                self._next_s = monotonic() + _AGAIN_S

    def stopped(self) -> None:
        """Say that it runs no more. Raises nothing."""
        with suppress(StateUnavailable):
            self._ask(lambda: self._redis.delete(self._runs))

    def end(self) -> str:
        """Let the copy be a deployment of its own; returns what it was a copy of. Raises SettingsError where a mirror
        still writes it, or it is no copy, StateUnavailable.
        """
        self._expect_nobody()
        name = self._ask(lambda: self._redis.eval(_MOVE, 1, self._mark, "of", "ended"))
        if name is None:
            raise SettingsError(f"{self._where}: expected the copy of another deployment, got none: nothing is to end")
        return bytes(name).decode(errors="replace")

    def again(self, of: str) -> None:
        """Let it be the copy of `of` again, which goes on where it was. Raises as `end`."""
        self._expect_nobody()
        [found] = self._ask(lambda: self._redis.hmget(self._mark, "ended"))
        if found is None or found.decode(errors="replace") != of:
            got = "none" if found is None else f"one of {found.decode(errors='replace')}"
            raise SettingsError(f"{self._where}: expected an ended copy of {of}, got {got}: leave --again out")
        self._ask(lambda: self._redis.eval(_MOVE, 1, self._mark, "ended", "of"))

    def close(self) -> None:
        self._redis.close()

    def _expect_nobody(self) -> None:
        if self._ask(lambda: self._redis.exists(self._runs)):
            raise SettingsError(
                f"{self._where}: expected no mirror that still runs, found one: end it first, and see that nothing "
                f"starts it again. One that was killed is taken for running for {RUNS_MS // 1000} s"
            )

    @property
    def _where(self) -> str:
        return f"Redis at {self._settings.place}, prefix {self._settings.prefix!r}"

    def _ask(self, ask: Callable[[], Any]) -> Any:
        with redis_errors_translated(self._settings):
            return ask()
