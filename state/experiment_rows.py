"""Reading what the attribution flow keeps of experiments: a row a unit, and sums by hour. Bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from contracts.experiment_rows import row_key_of
from contracts.keys import SCENARIOS, Keys
from contracts.redis_answers import is_other_kind
from contracts.settings import RedisSettings
from state.attribution import pairs_of
from state.client import connect, redis_errors_translated
from state.holders import scanning

ROW_KEY_BYTES: Final = 8
KNOWN_S: Final = 60.0
"""How long an experiment is taken for published without another look."""
ROWS_A_READ: Final = 2000
"""A large hash is read in parts: Redis answers others between them."""


class ExperimentRows:
    """For one thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings, self._redis, self._keys = settings, connect(settings), Keys(settings.prefix)

    def rows(self, experiment: str, kind: str) -> dict[str, bytes]:
        """Return the encoded row of each `session` or `user` of an experiment (`attribution.rows.decode_row`)."""
        key, found, cursor = self._keys.experiment_units(experiment, kind), dict[str, bytes](), 0
        with scanning(self._settings, key):
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


class PublishedNames:
    """Which experiments there are: whoever may send events can name any. For one thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._settings, self._redis = settings, connect(settings)
        self._rows, self._clock = Keys(settings.prefix).table_rows(SCENARIOS), clock
        self._until: dict[str, float] = {}

    def among(self, names: Collection[str]) -> frozenset[str]:
        """Return those names that an experiment is published under, stopped ones too."""
        now_s = self._clock()
        unknown = [name for name in names if self._until.get(name, 0.0) <= now_s]
        if unknown:
            keys = [row_key_of(name).to_bytes(ROW_KEY_BYTES, "little") for name in unknown]
            with redis_errors_translated(self._settings):
                try:
                    rows = self._redis.hmget(self._rows, keys)
                except Exception as error:
                    if not is_other_kind(error):
                        raise
                    rows = [None] * len(keys)
            for name, row in zip(unknown, rows, strict=True):
                self._until.pop(name, None)
                if row is not None:
                    self._until[name] = now_s + KNOWN_S
        return frozenset(name for name in names if name in self._until)

    def close(self) -> None:
        self._redis.close()
