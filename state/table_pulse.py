"""Whether a table still is what its writer left. A Redis that was emptied, restored from older files, or lost its last
second with its machine does not say so.

The writer leaves a mark of its own, another each time, and looks for the one before. An emptied Redis has none. A
restored one has an older mark. Nobody else's rows or numbers can hide that. A Redis that died may have the mark and
lack rows that were written after it. So a connection that had to be made anew tells as well.
"""

from __future__ import annotations

import secrets

from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import Connections, connect, redis_errors_translated


class TablePulse:
    """The mark of the one process that watches a table, from a thread."""

    def __init__(self, settings: RedisSettings, table: str) -> None:
        self._settings, self._key = settings, Keys(settings.prefix).table_pulse(table)
        self._connections = Connections()
        self._redis = connect(settings, self._connections)
        self._name, self._beats = secrets.token_hex(8), 0
        self._left: bytes | None = None
        self._known = 0
        self.is_gone = False
        """Whether the last beat did not find the mark before it: Redis was emptied, or restored."""

    def beat(self) -> bool:
        """Leave the next mark. Returns whether the table may lack what was written: the mark before is not there, or
        there was none yet, or this came over another connection. Raises StateUnavailable, and then looks again for the
        same one.
        """
        mark = f"{self._name}:{self._beats + 1}".encode()
        with redis_errors_translated(self._settings):
            found = self._redis.set(self._key, mark, get=True)
        made = self._connections.made
        self.is_gone = self._left is not None and found not in (self._left, mark)
        lost = self._left is None or self.is_gone or made != self._known
        self._left, self._beats, self._known = mark, self._beats + 1, made
        return lost

    def close(self) -> None:
        self._redis.close()
