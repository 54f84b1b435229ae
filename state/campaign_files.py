"""Which files campaigns wrote, on which machine, in Redis: an erasure takes visitors out of them wherever they are."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Final

import orjson

from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated

MOST: Final = 10_000
"""Files that are known, the newest."""


class CampaignFiles:
    """For any thread. Raises StateUnavailable. `host` is this machine's name."""

    def __init__(self, settings: RedisSettings, host: str | None = None) -> None:
        self._settings, self._redis = settings, connect(settings)
        self._key = Keys(settings.prefix).campaign_files()
        self.host = socket.gethostname() if host is None else host

    def note(self, path: Path, at_ms: int) -> None:
        """Note a file that a campaign writes here."""
        with redis_errors_translated(self._settings):
            self._redis.zadd(self._key, {orjson.dumps([self.host, str(path.absolute())]): at_ms})
            self._redis.zremrangebyrank(self._key, 0, -1 - MOST)

    def here(self) -> list[Path]:
        """Return the files of this machine that are still there, the oldest first."""
        paths = (Path(path) for host, path in self._known() if host == self.host)
        return [path for path in paths if path.is_file()]

    def elsewhere(self) -> list[str]:
        """Return the names of other machines on which campaigns wrote."""
        return sorted({host for host, _ in self._known() if host != self.host})

    def close(self) -> None:
        self._redis.close()

    def _known(self) -> list[tuple[str, str]]:
        with redis_errors_translated(self._settings):
            found: Any = self._redis.zrange(self._key, 0, -1)
        read = [_read(raw) for raw in found]
        return [one for one in read if one is not None]


def _read(raw: bytes) -> tuple[str, str] | None:
    try:
        host, path = orjson.loads(raw)
    except (ValueError, TypeError):
        return None
    return (host, path) if isinstance(host, str) and isinstance(path, str) else None
