"""What training again and again says of itself, in Redis: one JSON document."""

from __future__ import annotations

from typing import Any

import orjson

from contracts.formats import expect_mark, marked
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
            self._redis.set(self._key, orjson.dumps(marked("retrain_status", status.model_dump(mode="json"))))

    def read(self) -> RetrainStatus | None:
        """Return what was said last; None where nothing was, or another kind of thing."""
        found: Any = answered(self._settings, lambda: self._redis.get(self._key))
        try:
            if not isinstance(found, bytes):
                return None
            expect_mark("retrain_status", orjson.loads(found))
            return RetrainStatus.model_validate_json(found)
        except ValueError:  # none at all, or a newer release's
            return None

    def close(self) -> None:
        self._redis.close()
