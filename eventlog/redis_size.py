"""How many bytes each topic of the Redis log has, as its partitions count them when they take records."""

from __future__ import annotations

from contracts.errors import LogUnavailable
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Topic
from eventlog.redis_calls import AsyncCaller, Command


class RedisLogSize:
    """Asks Redis, from an event loop."""

    def __init__(self, log: LogSettings, redis: RedisSettings) -> None:
        keys = Keys(redis.prefix)
        self._places = [(topic, partition) for topic in Topic for partition in range(log.partitions)]
        self._commands: list[Command] = [
            command
            for topic, partition in self._places
            for command in (
                ("GET", keys.log_bytes(topic, partition)),
                ("LINDEX", keys.log_marks(topic, partition), 0),
            )
        ]
        self._redis = AsyncCaller(redis)

    async def by_topic(self) -> dict[str, int]:
        """Return bytes of values by topic: at most a step of the counting (`eventlog.redis_append`) too many.

        Raises LogUnavailable.
        """
        answers = await self._redis.run("look at the log's size", self._commands)
        sizes = dict.fromkeys(map(str, Topic), 0)
        for at, (topic, _) in enumerate(self._places):
            total, oldest = answers[2 * at : 2 * at + 2]
            before = int(oldest.partition(b":")[2]) if oldest else 0
            sizes[str(topic)] += int(total or 0) - before
        return sizes

    async def close(self) -> None:
        await self._redis.close()


async def sizes_of(size: RedisLogSize | None) -> dict[str, float]:
    """Return bytes by topic; nothing where the log is not Redis's, or does not say."""
    if size is None:
        return {}
    try:
        return dict(await size.by_topic())
    except LogUnavailable:
        return {}
