"""Where flows stand in the log, by what stands beside their state: the truth that they resume from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

from contracts.keys import Keys
from contracts.redis_answers import whole
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated

_CLICKS, _IMPRESSIONS = "clicks", "impressions"
KEPT_BESIDE_STATE: Final = ("sessions", "profiles", "attribution", "quality")
"""Flows that keep their offsets in Redis. The trends flow keeps its own in its recovery store."""


def stored_offsets(settings: RedisSettings, flow: str, partitions: int) -> Mapping[tuple[str, int], int]:
    """Return the next offset that a flow reads, by topic and partition. Raises StateUnavailable, and KeyError for a
    flow that keeps none in Redis.
    """
    keys = Keys(settings.prefix)
    places = {
        "sessions": [((_CLICKS, p), keys.progress(p), "next") for p in range(partitions)],
        "profiles": [((_CLICKS, p), keys.profile_progress(p), "next") for p in range(partitions)],
        "quality": [((_CLICKS, p), keys.quality_progress(), str(p)) for p in range(partitions)],
        "attribution": [
            ((topic, p), keys.attribution_progress(), f"{topic}:{p}")
            for topic in (_CLICKS, _IMPRESSIONS)
            for p in range(partitions)
        ],
    }[flow]
    with redis_errors_translated(settings), closing(connect(settings)) as client:
        pipe = client.pipeline(transaction=False)
        for _, key, field in places:
            pipe.hget(key, field)
        answers: list[Any] = pipe.execute(raise_on_error=False)
    return {place: whole(answer) or 0 for (place, _, _), answer in zip(places, answers, strict=True)}
