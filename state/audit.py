"""The audit log in Redis: who changed what, when, and from where. Two bounded streams, so that a busy catalogue pushes
no change of a key out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import orjson

from contracts.errors import StateUnavailable
from contracts.formats import marked
from contracts.keys import Keys
from contracts.masked import masked
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.redis_line import open_line, packed

ADMIN: Final = "admin"
"""Changes of keys and dead letters, and what admins asked."""
CATALOGUE: Final = "catalogue"
"""Writes of items and stock."""
ENTRY_BYTES: Final = 512
KEPT: Final = {ADMIN: 16_384, CATALOGUE: 65_536}
"""Entries kept, the newest: 8 and 32 MiB at most."""
ERASED_NAME: Final = "(erased)"
_PATH: Final = re.compile(r"^(\S+ /api/(?:users|sessions)/)([^/?\s]+)(.*)$", re.DOTALL)
_FIELD: Final = b"e"
_READ: Final = 500
_TIME: Final = re.compile(rb"^(\d+)-")


class Entry(NamedTuple):
    """One line of the audit log. `what` holds no bodies, and no key: it is a method and path, or a command."""

    at_ms: int
    who: str
    what: str
    source: str
    outcome: str


class AuditLog:
    """Writes and reads the log, from a thread."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings, self._redis = settings, connect(settings)

    def append(self, about: str, entry: Entry) -> None:
        """Write an entry. Raises StateUnavailable."""
        with redis_errors_translated(self._settings):
            self._redis.execute_command(*_command(self._settings, about, entry))

    def newest(self, about: str) -> Iterator[Entry]:
        """Yield what is kept, the newest first. Raises StateUnavailable."""
        key, end = Keys(self._settings.prefix).audit(about), "+"
        while True:
            with redis_errors_translated(self._settings):
                found: Any = self._redis.xrevrange(key, max=end, count=_READ)
            for name, fields in found:
                yield _entry(name, fields.get(_FIELD, b""))
            if len(found) < _READ:
                return
            end = f"({found[-1][0].decode()}"

    def forget(self, before_ms: int) -> int:
        """Take away the entries from before a moment; returns how many. Raises StateUnavailable."""
        with redis_errors_translated(self._settings):
            keys = Keys(self._settings.prefix)
            return sum(int(self._redis.xtrim(keys.audit(about), minid=before_ms, approximate=False)) for about in KEPT)

    def close(self) -> None:
        self._redis.close()


class AsyncAuditLog:
    """Writes the log, from an event loop. `within_s` bounds each wait."""

    def __init__(self, settings: RedisSettings, *, within_s: float) -> None:
        self._settings, self._line = settings, open_line(settings, within_s=within_s)

    async def append(self, about: str, entry: Entry) -> None:
        """Write an entry. Raises StateUnavailable."""
        with redis_errors_translated(self._settings):
            [answer] = await self._line.call(packed(_command(self._settings, about, entry)), 1)
            if isinstance(answer, Exception):
                raise answer

    async def close(self) -> None:
        await self._line.close()


def _command(settings: RedisSettings, about: str, entry: Entry) -> tuple[bytes, ...]:
    key = Keys(settings.prefix).audit(about).encode()
    return (b"XADD", key, b"MAXLEN", b"~", b"%d" % KEPT[about], b"*", _FIELD, encoded(entry))


def encoded(entry: Entry) -> bytes:
    """Return an entry as JSON, of ENTRY_BYTES at most: what is too long is cut."""
    longest = 300
    while True:
        fields = {
            "at_ms": entry.at_ms,
            "who": _ascii(entry.who, 60),
            "what": _cut(entry.what, longest),
            "source": _ascii(entry.source, 80),
            "outcome": _cut(entry.outcome, min(120, longest)),
        }
        raw = orjson.dumps(marked("audit_entry", fields))
        if len(raw) <= ENTRY_BYTES:
            return raw
        longest //= 2  # at 9 it fits, whatever the letters


def _ascii(text: str, longest: int) -> str:
    return _cut(text, longest).encode("ascii", "replace").decode()


def _cut(text: str, longest: int) -> str:
    """Return text without secrets and control characters, of so many characters at most."""
    plain = "".join(one if one.isprintable() else "\ufffd" for one in masked(text[: 2 * longest]))
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def masked_path(what: str, is_named: Callable[[str], bool]) -> str | None:
    """Return a line of the audit log (method and path) without the visitor's name; None where it names nobody so."""
    matched = _PATH.match(what)
    if matched is None or not is_named(unquote(matched[2], errors="replace")):
        return None
    return f"{matched[1]}{quote(ERASED_NAME, safe='()')}{matched[3]}"


def _entry(name: bytes, raw: bytes) -> Entry:
    """Return an entry as it was written; of a damaged one what can be told."""
    try:
        fields = orjson.loads(raw)
        return Entry(int(fields["at_ms"]), *(str(fields[one]) for one in ("who", "what", "source", "outcome")))
    except (ValueError, KeyError, TypeError):
        written = _TIME.match(name)
        return Entry(int(written[1]) if written else 0, "?", "an entry that cannot be read", "?", "?")


def expect_written(log: AuditLog, about: str, entry: Entry) -> None:
    """Write an entry of what has been done. Raises StateUnavailable that says that it has been done."""
    try:
        log.append(about, entry)
    except StateUnavailable as error:
        raise StateUnavailable(f"done ({entry.what}), but the audit log did not take it: {error}") from error
