"""What clients are told of an error that they can do nothing about: a name, under which the log has the rest.

An outage meets every request, and a log has an end: one text is said once a minute, and keeps its name until then.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger("nextclick.gateway")

_AGAIN_S: Final = 60.0
_MOST: Final = 64
_NUMBERS = re.compile(r"\d+")


def new_name() -> str:
    """Return a name that no other incident has."""
    return secrets.token_hex(4)


class Incidents:
    """Errors that were met lately, by what they say; numbers in it make no difference."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._met: dict[str, tuple[str, float]] = {}

    def name_of(self, error: Exception) -> str:
        """Return the name of an error, which the log has too. Raises nothing."""
        said, now_s = str(error), self._clock()
        kind = _NUMBERS.sub("#", said)
        name, at_s = self._met.get(kind, ("", 0.0))
        if not name or now_s - at_s >= _AGAIN_S:
            name = new_name()
            self._met.pop(kind, None)
            self._met[kind] = (name, now_s)
            if len(self._met) > _MOST:
                del self._met[next(iter(self._met))]
            log.warning("answering 503, id %s: %s", name, said)
        return name
