"""API keys: what they are, what they open, how they are made, changed and recognised. `state.key_store` keeps them.

A key is a text such as `ncs_<id>_<secret>`: `ncs` of a secret key, `ncp` of a public one, which pages may show. Only
its SHA-256 is kept. One round of a fast hash is enough, as the secret is 192 random bits: there is nothing to guess.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.addresses import origin_of
from contracts.errors import KeyRefused
from contracts.formats import expect_mark, marked

VARIABLE: Final = "NEXTCLICK_API_KEY"
"""Environment variable of the key that our own clients send."""
KEY_LENGTH: Final = 69
KEY_TEXT: Final = re.compile(r"nc[sp]_[0-9a-f]{16}_[0-9a-f]{48}")

MOST_KEYS: Final = 1000
MOST_REVOKED: Final = 200
"""Revoked keys that are still listed; the oldest is forgotten when a key is made."""
MOST_ORIGINS: Final = 50
MOST_SECRETS: Final = 4
"""Secrets of one key: the newest, and those of rotations whose overlap is not over."""
_LONGEST_NAME: Final = 80

Random = Callable[[int], str]
"""Returns so many random bytes in hex."""


class Scope(StrEnum):
    """What a key opens. No scope holds another."""

    EVENTS = "events"
    RECOMMEND = "recommend"
    CATALOGUE = "catalogue"
    ADMIN = "admin"


PUBLIC_SCOPES: Final = (Scope.EVENTS, Scope.RECOMMEND)


class HeldSecret(BaseModel):
    """The hash of a key's whole text. `until_ms`: when it ends, epoch milliseconds; None: with the key."""

    model_config = ConfigDict(frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    until_ms: int | None = None


class ApiKey(BaseModel):
    """A key as it is kept: everything but its text. `origins` are the pages that a public key is for."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    name: str
    public: bool
    scopes: tuple[Scope, ...]
    origins: tuple[str, ...] = ()
    created_ms: int
    revoked_ms: int | None = None
    secrets: tuple[HeldSecret, ...]

    @property
    def row_key(self) -> bytes:
        """The key's row in its table: 8 bytes."""
        return bytes.fromhex(self.id)

    def overlaps_until(self, now_ms: int) -> int | None:
        """Return until when a secret of before a rotation still works; None where none does."""
        ends = [one.until_ms for one in self.secrets if one.until_ms is not None and one.until_ms > now_ms]
        return max(ends, default=None)


class Made(NamedTuple):
    """A key, and its text, which nothing keeps."""

    key: ApiKey
    text: str


def digest_of(text: str) -> bytes:
    """Return the 32 bytes by which a key's text is found."""
    return sha256(text.encode()).digest()


def new_key(
    name: str,
    scopes: Iterable[str],
    origins: Sequence[str] = (),
    *,
    public: bool,
    now_ms: int,
    random: Random = secrets.token_hex,
) -> Made:
    """Make a key. Raises KeyRefused for what no key can be."""
    wanted = _scopes(scopes, public=public)
    pages = _origins(origins, public=public)
    shown = name.strip()
    if not 1 <= len(shown) <= _LONGEST_NAME or not shown.isprintable():
        raise KeyRefused(f"expected a name of 1 to {_LONGEST_NAME} printable characters, got {name!r:.100}")
    key_id = random(8)
    text = _text(key_id, public=public, random=random)
    held = HeldSecret(sha256=digest_of(text).hex())
    key = ApiKey(id=key_id, name=shown, public=public, scopes=wanted, origins=pages, created_ms=now_ms, secrets=(held,))
    return Made(key, text)


def rotated(key: ApiKey, overlap_ms: int, *, now_ms: int, random: Random = secrets.token_hex) -> Made:
    """Give a key another secret; the one of before ends after the overlap, or when it would have ended anyway.

    Raises KeyRefused for a key that was revoked, or has been rotated too often within its overlaps.
    """
    if key.revoked_ms is not None:
        raise KeyRefused(f"key {key.id} was revoked: make another with `nextclick keys create`")
    end_ms = now_ms + overlap_ms
    ends = (
        held.model_copy(update={"until_ms": end_ms if held.until_ms is None else min(held.until_ms, end_ms)})
        for held in key.secrets
    )
    kept = [held for held in ends if (held.until_ms or 0) > now_ms]
    if len(kept) >= MOST_SECRETS:
        raise KeyRefused(
            f"expected at most {MOST_SECRETS - 1} secrets of before in key {key.id} at once, got one more: "
            "rotate with a shorter --overlap, or with 0s, which ends them all"
        )
    text = _text(key.id, public=key.public, random=random)
    return Made(key.model_copy(update={"secrets": (HeldSecret(sha256=digest_of(text).hex()), *kept)}), text)


def revoked(key: ApiKey, *, now_ms: int) -> ApiKey:
    """Return the key without its secrets: it opens nothing any more."""
    return key.model_copy(update={"revoked_ms": key.revoked_ms or now_ms, "secrets": ()})


def key_named(keys: Iterable[ApiKey], name: str) -> ApiKey:
    """Return the key of this id, or the one that is not revoked of this name. Raises KeyRefused."""
    found = [key for key in keys if key.id == name] or [
        key for key in keys if key.name == name and key.revoked_ms is None
    ]
    if len(found) != 1:
        shown = "(a key's text, which is no id)" if KEY_TEXT.fullmatch(name) else repr(name)
        got = f"{len(found)} keys of that name" if found else "none"
        raise KeyRefused(f"expected the id or name of one key, {shown} is {got}: `nextclick keys list` shows the ids")
    return found[0]


def with_key(keys: Sequence[ApiKey], key: ApiKey) -> list[ApiKey]:
    """Return the keys to forget so that there is room for one more. Raises KeyRefused where there is none."""
    gone = sorted((one for one in keys if one.revoked_ms is not None), key=lambda one: one.revoked_ms or 0)
    if len(keys) - len(gone) >= MOST_KEYS:
        raise KeyRefused(f"expected at most {MOST_KEYS} keys, got one more ({key.name!r}): revoke some")
    return gone[:-MOST_REVOKED] if len(gone) > MOST_REVOKED else []


def encode_key(key: ApiKey) -> bytes:
    return orjson.dumps(marked("api_key", key.model_dump(mode="json")))


def decode_key(row: bytes) -> ApiKey:
    """Return a key as it was kept. Raises ValueError for anything else, NewerFormat."""
    try:
        expect_mark("api_key", orjson.loads(row))
        return ApiKey.model_validate_json(row)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"expected an API key, got something else ({error})") from None
    except ValidationError as error:
        raise ValueError(f"expected an API key, got something else ({error.error_count()} fields)") from None


def _text(key_id: str, *, public: bool, random: Random) -> str:
    return f"nc{'p' if public else 's'}_{key_id}_{random(24)}"


def _scopes(names: Iterable[str], *, public: bool) -> tuple[Scope, ...]:
    wanted = set(names)
    allowed = PUBLIC_SCOPES if public else tuple(Scope)
    if not wanted or not wanted <= set(allowed):
        kind = "a public key" if public else "a key"
        got = ", ".join(sorted(wanted - set(allowed))) or "none"
        raise KeyRefused(f"expected scopes of {kind} among {', '.join(allowed)}, got {got}")
    return tuple(scope for scope in Scope if scope in wanted)


def _origins(origins: Sequence[str], *, public: bool) -> tuple[str, ...]:
    if public != bool(origins):
        need = "the origins whose pages may use it (--origin)" if public else "no origin: a secret key is for no page"
        raise KeyRefused(f"expected of {'a public' if public else 'a secret'} key {need}, got {len(origins)}")
    if len(origins) > MOST_ORIGINS:
        raise KeyRefused(f"expected at most {MOST_ORIGINS} origins, got {len(origins)}")
    try:
        return tuple(dict.fromkeys(origin_of(one) for one in origins))
    except ValueError as error:
        raise KeyRefused(f"--origin: {error}") from error
