"""How many shards a table has: what Redis says of it, beside what the settings say.

One that was never split has no such number, so that what was stored before tables had shards stays as it is.
"""

from __future__ import annotations

from typing import Any, Final

from contracts.errors import ShardsDiffer
from contracts.keys import CATALOGUE, Keys
from contracts.redis_answers import whole
from contracts.settings import RedisSettings

SPLIT: Final = (CATALOGUE,)
"""Tables that may have several shards. The others are small, or bounded, and each has one writer that commits often:
see ARCHITECTURE.md."""


class Layout:
    """The shards of the table that a name is of: of a table, or of one of its shards (`contracts.keys.shard_names`)."""

    def __init__(self, settings: RedisSettings, name: str) -> None:
        self.table = name.partition(":")[0]
        self._place, self._wanted = settings.place, settings.shards(self.table)
        keys = Keys(settings.prefix)
        self.key, self._end = keys.table_shards(self.table), keys.table_end(self.table)

    @property
    def questions(self) -> tuple[tuple[bytes, bytes], ...]:
        """What to ask Redis, for `expect`; nothing of a table that always has one."""
        if self.table not in SPLIT:
            return ()
        return (b"GET", self.key.encode()), (b"EXISTS", self._end.encode())

    def expect(self, answers: list[Any]) -> None:
        """Raise ShardsDiffer where the table is stored as another number of shards than the settings say."""
        if not answers:
            return
        stored = whole(answers[0])
        if stored is None and answers[1]:
            stored = 1
        if stored is not None and stored != self._wanted:
            raise ShardsDiffer(self.table, self._place, stored, self._wanted)
