"""What candidates in the shadow would have answered, as sums in Redis that all gateways add to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import answered, connect, redis_errors_translated

KEEP_S: Final = 30 * 86_400


class ShadowSums:
    """One hash a version, kept for 30 days after the last answer. For any thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings, self._redis = settings, connect(settings)
        self._keys = Keys(settings.prefix)

    def add(self, version: str, sums: Mapping[str, float]) -> None:
        key = self._keys.shadow(version)
        with redis_errors_translated(self._settings):
            pipe = self._redis.pipeline(transaction=True)
            for name, value in sums.items():
                pipe.hincrbyfloat(key, name, value)
            pipe.expire(key, KEEP_S)
            pipe.execute()

    def read(self, version: str) -> dict[str, float]:
        """Return the sums of a version; empty where nothing was asked of it. What is no number counts as none."""
        found: Any = answered(self._settings, lambda: self._redis.hgetall(self._keys.shadow(version)))
        return {name.decode(errors="replace"): _number(raw) for name, raw in (found or {}).items()}

    def close(self) -> None:
        self._redis.close()


def _number(raw: bytes) -> float:
    try:
        value = float(raw)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
