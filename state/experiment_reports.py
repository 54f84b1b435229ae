"""Reports of experiments in Redis: the judge writes them, gateways hand them on. What they say: `contracts`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from contracts.keys import Keys
from contracts.redis_answers import is_other_kind
from contracts.settings import RedisSettings
from state.client import answered, connect, redis_errors_translated


class ReportStore:
    """The newest report of each experiment, and its short form. For any thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings, self._redis = settings, connect(settings)
        self._keys = Keys(settings.prefix)

    def write(self, name: str, report: bytes, short: bytes) -> None:
        """Write both forms. What stands in the place of all short forms and is none goes."""
        key, decisions = self._keys.experiment_report(name), self._keys.experiment_decisions()
        with redis_errors_translated(self._settings):
            self._redis.set(key, report)
            try:
                self._redis.hset(decisions, name, short)
            except Exception as error:
                if not is_other_kind(error):
                    raise
                self._redis.unlink(decisions)
                self._redis.hset(decisions, name, short)

    def report(self, name: str) -> bytes | None:
        """Return a report; None where there is none, or another kind of thing."""
        found: Any = answered(self._settings, lambda: self._redis.get(self._keys.experiment_report(name)))
        return found if isinstance(found, bytes) else None

    def decisions(self) -> dict[str, bytes]:
        """Return the short form of every report, by the experiment's name."""
        found: Any = answered(self._settings, lambda: self._redis.hgetall(self._keys.experiment_decisions()))
        return {name.decode(errors="replace"): raw for name, raw in (found or {}).items()}

    def forget(self, names: Iterable[str]) -> None:
        """Take reports away."""
        decisions = self._keys.experiment_decisions()
        with redis_errors_translated(self._settings):
            for name in names:
                self._redis.unlink(self._keys.experiment_report(name))
                self._redis.hdel(decisions, name)

    def close(self) -> None:
        self._redis.close()
