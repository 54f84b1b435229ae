"""Recordings without the people in them: ids become keyed hashes, and what could name a visitor is left out.

The same id under the same key is always the same hash, so order, times and repeats stay as they were. The key is
given by the caller and stored nowhere: who does not have it cannot tell which id a hash stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from contracts.errors import ImportFormatError, SettingsError
from eventlog.files import Header, Progress, read_header, read_raw, write_events

SHORTEST_KEY = 16
HASH_BYTES = 12
KEPT_FIELDS = ("v", "type", "ts", "value")
KEPT_CONTEXT = frozenset({"device", "os", "country", "region", "age", "environment", "referrer"})
LONGEST_CONTEXT = 32
"""Characters. A longer value (an address, a page) says more than which kind of visitor it was."""


class Anonymiser:
    """Replaces ids by keyed BLAKE2b hashes (RFC 7693), 24 hex digits; one key, one meaning.

    Event, session, user, item and request ids hash apart, so that a user id that is also a session id does not show.
    Of the context only `KEPT_CONTEXT` stays, and fields that the schema does not know are dropped.
    `keep_items` leaves item ids alone, so that a recording still fits the catalogue that it was made on.
    """

    def __init__(self, key: bytes, *, keep_items: bool = False) -> None:
        """`key` is 16 bytes or more, of which up to 64 count. Raises SettingsError for a shorter one."""
        if len(key) < SHORTEST_KEY:
            raise SettingsError(f"expected a key of at least {SHORTEST_KEY} bytes, got {len(key)}: choose a longer one")
        self._key = blake2b(key, digest_size=32, person=b"nextclick").digest()
        self.keep_items = keep_items
        self._session, self._user = self._hasher(b"session"), self._hasher(b"user")
        self._event, self._request = self._hasher(b"event", 0), self._hasher(b"request", 0)
        hashed = self._hasher(b"item")
        self.item_id: Callable[[str], str] = (lambda item_id: item_id) if keep_items else hashed
        """What stands for an item id; items files are anonymised with it."""

    def _hasher(self, kind: bytes, remembered: int = 100_000) -> Callable[[str], str]:
        keyed = blake2b(digest_size=HASH_BYTES, key=self._key, person=kind)

        def hashed(name: str) -> str:
            one = keyed.copy()
            one.update(name.encode())
            return one.hexdigest()

        return lru_cache(maxsize=remembered)(hashed) if remembered else hashed

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return one event's fields, anonymised."""
        found = {name: fields[name] for name in KEPT_FIELDS if fields.get(name) is not None}
        found["event_id"] = self._event(fields["event_id"])
        found["session_id"] = self._session(fields["session_id"])
        for name, hashed in (("user_id", self._user), ("item_id", self.item_id), ("request_id", self._request)):
            if fields.get(name) is not None:
                found[name] = hashed(fields[name])
        if fields.get("items") is not None:
            found["items"] = [self.item_id(item) for item in fields["items"]]
        context = fields.get("context")
        if context:
            kept = {name: value for name, value in context.items() if name in KEPT_CONTEXT and _may_stay(value)}
            if kept:
                found["context"] = kept
        return found

    def lines(self, recorded: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Yield recorded events' JSON, anonymised, as fields. Raises ImportFormatError for what is no event."""
        for number, raw in enumerate(recorded, start=1):
            try:
                yield self.fields(orjson.loads(raw))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ImportFormatError(
                    f"event {number} of the recording is none ({error!r}): {raw[:80]!r}: import or record it again"
                ) from error


def _may_stay(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_CONTEXT
    return isinstance(value, int | float)


def anonymise_log(source: Path, out: Path, anonymiser: Anonymiser, *, progress: Progress | None = None) -> Header:
    """Write `out`, the recorded log `source` anonymised, and return its header."""
    read_header(source)
    return write_events(out, anonymiser.lines(read_raw(source)), anonymised=True, progress=progress)
