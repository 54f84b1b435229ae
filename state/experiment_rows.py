"""Reading what the attribution flow keeps of experiments: a row a unit, and sums by hour. Bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from contracts.keys import Keys
from contracts.redis_answers import is_other_kind
from contracts.settings import RedisSettings
from state.attribution import pairs_of
from state.client import connect, redis_errors_translated

ROWS_A_READ: Final = 2000
"""A large hash is read in parts: Redis answers others between them."""


class ExperimentRows:
    """For one thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings, self._redis, self._keys = settings, connect(settings), Keys(settings.prefix)

    def rows(self, experiment: str, kind: str) -> dict[str, bytes]:
        """Return the encoded row of each `session` or `user` of an experiment (`attribution.rows.decode_row`)."""
        key, found, cursor = self._keys.experiment_units(experiment, kind), dict[str, bytes](), 0
        while True:
            answer = self._ask("HSCAN", key, cursor, "COUNT", ROWS_A_READ)
            if answer is None:
                return {}
            cursor, pairs = int(answer[0]), answer[1]
            flat = [part for pair in pairs.items() for part in pair] if isinstance(pairs, dict) else pairs
            found |= {
                name.decode(errors="surrogateescape"): row for name, row in zip(flat[::2], flat[1::2], strict=True)
            }
            if not cursor:
                return found

    def sums(self, experiment: str, days: Iterable[int]) -> dict[bytes, int]:
        """Return the sums of some days since 1970, by field (`attribution.sums.sum_of`)."""
        found: dict[bytes, int] = {}
        for day in days:
            found |= pairs_of(self._ask("HGETALL", self._keys.experiment_sums(experiment, day)))
        return found

    def close(self) -> None:
        self._redis.close()

    def _ask(self, *command: Any) -> Any:
        with redis_errors_translated(self._settings):
            try:
                return self._redis.execute_command(*command)
            except Exception as error:
                if is_other_kind(error):
                    return None
                raise
