"""The secret that names of erased visitors are hashed with: made by the first one that asks, kept in Redis."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from contracts.hashed_names import SECRET_BYTES
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import redis_errors_translated


def secret_of(client: Any, settings: RedisSettings, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Return the deployment's secret. Raises StateUnavailable."""
    key = Keys(settings.prefix).erasure_secret()
    with redis_errors_translated(settings):
        found = client.get(key)
        if not found:
            client.set(key, random(SECRET_BYTES), nx=True)
            found = client.get(key)
    return bytes(found)
