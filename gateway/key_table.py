"""The API keys in this process's memory, found by the hash of their text: the guard asks here, never Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hmac import compare_digest
from typing import NamedTuple

from aiohttp import web

from contracts.api_keys import KEY_LENGTH, ApiKey, Scope, decode_key, digest_of
from contracts.clock import wall_clock_ms
from gateway.replica import Rows


class Caller(NamedTuple):
    """Whoever sent a request, by its key. `origins` are empty for a secret key."""

    key_id: str
    scopes: frozenset[Scope]
    origins: frozenset[str]


class _Held(NamedTuple):
    digest: bytes
    caller: Caller
    until_ms: int | None


class KeyTable:
    """Keys as rows of the table bring them. A text is looked up by its SHA-256: what a look-up's time could tell is of
    a hash that nobody can choose, and the hash that was found is compared in constant time.
    """

    def __init__(self, clock: Callable[[], int] = wall_clock_ms) -> None:
        self._clock = clock
        self._by_digest: dict[bytes, _Held] = {}
        self._digests: dict[int, tuple[bytes, ...]] = {}
        self._pages: dict[int, frozenset[str]] = {}
        self.origins: frozenset[str] = frozenset()
        """Origins of all public keys: their pages may ask, and read the answer."""

    def __len__(self) -> int:
        return len(self._digests)

    def held(self) -> Iterable[int]:
        """Return the row keys."""
        return list(self._digests)

    def apply(self, rows: Rows) -> None:
        """Take rows in. A row that is no key opens nothing, whatever it was before. Raises ValueError for the first."""
        try:
            for row_key, row in rows:
                self._forget(row_key)
                if row is not None:
                    self._take(row_key, decode_key(row))
        finally:
            self.origins = frozenset(origin for pages in self._pages.values() for origin in pages)

    def find(self, text: str) -> Caller | None:
        """Return whose key this text is; None for what is no key, was revoked, or has ended."""
        if len(text) != KEY_LENGTH or not text.isascii():
            return None
        digest = digest_of(text)
        held = self._by_digest.get(digest)
        if held is None or not compare_digest(held.digest, digest):
            return None
        if held.until_ms is not None and self._clock() >= held.until_ms:
            return None
        return held.caller

    def _forget(self, row_key: int) -> None:
        for digest in self._digests.pop(row_key, ()):
            self._by_digest.pop(digest, None)
        self._pages.pop(row_key, None)

    def _take(self, row_key: int, key: ApiKey) -> None:
        if int.from_bytes(key.row_key, "little") != row_key:
            raise ValueError(f"expected the API key of row {row_key:016x}, got {key.id}")
        caller = Caller(key.id, frozenset(key.scopes), frozenset(key.origins))
        held = [] if key.revoked_ms is not None else key.secrets
        for one in held:
            digest = bytes.fromhex(one.sha256)
            self._by_digest[digest] = _Held(digest, caller, one.until_ms)
        self._digests[row_key] = tuple(bytes.fromhex(one.sha256) for one in held)
        if held:
            self._pages[row_key] = caller.origins


KEYS = web.AppKey("API keys", KeyTable)
