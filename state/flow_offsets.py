"""Where flows stand in the log, by what stands beside their state: the truth that they resume from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from contracts.keys import CATALOGUE, Keys, shard_names
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


_BACK: Final = """
local stored = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(stored) == 'string' and (tonumber(stored) or 0) > tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
"""


def step_back(settings: RedisSettings, flow: str, topic: str, partition: int, offset: int, partitions: int) -> None:
    """Have a flow's state know a partition of a topic no further than up to an offset, wherever it notes that: the log
    has lost what came after. Raises StateUnavailable: call again.
    """
    keys = Keys(settings.prefix)
    places: Sequence[tuple[str, str]] = {
        "attribution": [(keys.attribution_progress(), f"{topic}:{partition}")],
        "quality": [(keys.quality_progress(), str(partition))],
        "profiles": [(keys.profile_progress(p), str(partition)) for p in range(partitions)],
        "items": [
            (keys.table_progress(name), f"{topic}:{partition}")
            for name in shard_names(CATALOGUE, settings.shards(CATALOGUE))
        ],
    }[flow]
    with redis_errors_translated(settings), closing(connect(settings)) as client:
        for key, field in places:
            client.eval(_BACK, 1, key, field, offset)
