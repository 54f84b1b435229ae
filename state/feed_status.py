"""What whoever pulls feeds says of them, in Redis: one JSON document."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from contracts.feed_status import FeedsStatus
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import answered, connect, redis_errors_translated


class FeedStatusStore:
    """The one document. For any thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings, self._redis = settings, connect(settings)
        self._key = Keys(settings.prefix).feeds()

    def write(self, status: FeedsStatus) -> None:
        with redis_errors_translated(self._settings):
            self._redis.set(self._key, status.model_dump_json())

    def read(self) -> FeedsStatus | None:
        """Return what was said last; None where nothing was, or another kind of thing."""
        found: Any = answered(self._settings, lambda: self._redis.get(self._key))
        try:
            return FeedsStatus.model_validate_json(found) if isinstance(found, bytes) else None
        except ValidationError:
            return None

    def close(self) -> None:
        self._redis.close()
