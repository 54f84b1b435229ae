"""What candidates in the shadow would have answered, as sums in Redis that all gateways add to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from redis.exceptions import ResponseError

from contracts.keys import Keys
from contracts.redis_answers import is_other_kind
from contracts.settings import RedisSettings
from state.client import answered, connect, redis_errors_translated

KEEP_S: Final = 30 * 86_400
_MOST: Final = 2.0**53


class ShadowSums:
    """One hash a version, kept for 30 days after the last answer. For any thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings, self._redis = settings, connect(settings)
        self._keys = Keys(settings.prefix)

    def add(self, version: str, sums: Mapping[str, float]) -> None:
        """Add to the sums of a version. Where the key holds no sums of ours, they begin afresh."""
        key = self._keys.shadow(version)
        with redis_errors_translated(self._settings):
            for _ in range(2):
                pipe = self._redis.pipeline(transaction=True)
                for name, value in sums.items():
                    pipe.hincrbyfloat(key, name, value)
                pipe.expire(key, KEEP_S)
                refused = [one for one in pipe.execute(raise_on_error=False) if isinstance(one, ResponseError)]
                if not refused:
                    return
                if not all(is_other_kind(one) or "float" in str(one) for one in refused):
                    raise refused[0]
                self._redis.delete(key)

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
    return value if abs(value) < _MOST else 0.0
