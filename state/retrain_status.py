"""What training again and again says of itself, in Redis: one JSON document."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from contracts.keys import Keys
from contracts.retrain_status import RetrainStatus
from contracts.settings import RedisSettings
from state.client import answered, connect, redis_errors_translated


class RetrainStatusStore:
    """The one document. For any thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings, self._redis = settings, connect(settings)
        self._key = Keys(settings.prefix).retrain_status()

    def write(self, status: RetrainStatus) -> None:
        with redis_errors_translated(self._settings):
            self._redis.set(self._key, status.model_dump_json())

    def read(self) -> RetrainStatus | None:
        """Return what was said last; None where nothing was, or another kind of thing."""
        found: Any = answered(self._settings, lambda: self._redis.get(self._key))
        try:
            return RetrainStatus.model_validate_json(found) if isinstance(found, bytes) else None
        except ValidationError:
            return None

    def close(self) -> None:
        self._redis.close()
