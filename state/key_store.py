"""API keys in Redis: a change table, so that every gateway process follows them. Rows: `contracts.api_keys`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from contracts import keys as redis_keys
from contracts.api_keys import ApiKey, decode_key, encode_key
from contracts.errors import StateConflict, StateUnavailable
from contracts.left_out import LeftOutLog
from contracts.settings import RedisSettings
from state.tables import Source, TableReader, TableWriter

log = logging.getLogger("nextclick.keys")

KEPT_CHANGES: Final = 1000
_TRIES: Final = 20
_CHANGES: Final = "changes"

Change = tuple[Sequence[ApiKey], Sequence[ApiKey]]
"""Keys to write, and keys to forget."""


class KeyStore:
    """Reads and changes the keys of a deployment, from a thread."""

    def __init__(self, settings: RedisSettings) -> None:
        self._reader = TableReader(settings, redis_keys.API_KEYS)
        self._writer = TableWriter(settings, redis_keys.API_KEYS, kept_changes=KEPT_CHANGES)
        self._left_out = LeftOutLog(log)

    def listed(self) -> list[ApiKey]:
        """Return all keys, the oldest first, revoked ones among them. Raises StateUnavailable.

        A row that is no key is left out, and said: it opens nothing.
        """
        found: dict[str, ApiKey] = {}
        for rows in self._reader.rows():
            for row_key, row in rows:
                try:
                    key = decode_key(row)
                except ValueError as error:
                    self._left_out.say(f"API key {row_key.hex()}", error)
                    continue
                found[key.id] = key
        return sorted(found.values(), key=lambda key: (key.created_ms, key.id))

    def change(self, make: Callable[[Sequence[ApiKey]], Change]) -> None:
        """Write what `make` makes of the keys there are; it is asked again when somebody else changed them meanwhile.

        Raises what `make` raises, and StateUnavailable: nothing was promised then, look and try again.
        """
        for _ in range(_TRIES):
            number = self._reader.applied(_CHANGES, 0)
            puts, gone = make(self.listed())
            rows = {key.row_key: encode_key(key) for key in puts}
            try:
                self._writer.commit(rows, [key.row_key for key in gone], Source(_CHANGES, 0, number, number + 1))
            except StateConflict:
                continue
            self._writer.expect_kept()
            return
        raise StateUnavailable(f"somebody else changed the API keys at the same time, {_TRIES} times: try again")

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
