"""What the stream learnt of a user, and its bytes in Redis."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.formats import NewerFormat, expect_known
from contracts.sessions import CLICK, NO_CLICKS, Clicks

PROFILE_CODEC: Final = 1
MOST_SESSIONS: Final = 8
"""Sessions whose vectors a profile keeps by name; those before are one vector."""
REVISION_BYTES: Final = 8
"""A stored profile begins with its revision, which a commit compares."""

PAST_SESSION = np.dtype([("name", "<u8"), ("last_ms", "<i8")])
"""A session of a profile: hash of its id, and its last click in epoch milliseconds."""

_HEADER: Final = struct.Struct("<QBBBBHHqqIIQ")
"""Revision, codec, sessions, bytes of device and region, clicks, dim, older, seen, events, purchases, model."""
_NO_VECTOR: Final = np.zeros(0, np.float32)
MOST_TEXT: Final = 64
"""Bytes of device and region."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A user, as the stream knows them. Frozen: folding clicks in returns a new one.

    `clicks` (n,) are the newest, of all the user's sessions, ordered by (ts_ms, event). `sessions` (s,) are the newest
    of them that have a vector, ordered by (last_ms, name), `vectors` (s, d) are unit query vectors at their last click.
    `older` (d,) is the sum of those before, decayed to `older_ms`; empty where there were none. `events` and
    `purchases` count what was ever folded in. `device` and `region` are what the context of the newest click said,
    at `seen_ms`. Vectors are of `model_version`.
    """

    clicks: Clicks = field(default_factory=lambda: NO_CLICKS)
    sessions: NDArray[Any] = field(default_factory=lambda: np.zeros(0, PAST_SESSION))
    vectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    older: NDArray[np.float32] = field(default_factory=lambda: _NO_VECTOR)
    older_ms: int = 0
    events: int = 0
    purchases: int = 0
    device: str = ""
    region: str = ""
    seen_ms: int = 0
    model_version: int = 0
    revision: int = 0


def encode_profile(profile: Profile) -> bytes:
    """Encode a profile: 48 bytes, 25 a click, 16 and 4 a dimension a session, and 4 a dimension for those before."""
    device, region = profile.device.encode(), profile.region.encode()
    dim = profile.vectors.shape[1] if len(profile.sessions) else len(profile.older)
    older = profile.older if len(profile.older) else np.zeros(dim, np.float32)
    header = _HEADER.pack(
        *(profile.revision, PROFILE_CODEC, len(profile.sessions), len(device), len(region), len(profile.clicks), dim),
        *(profile.older_ms, profile.seen_ms, profile.events, profile.purchases, profile.model_version),
    )
    arrays = (profile.clicks, profile.sessions, profile.vectors, older)
    return b"".join((header, device, region, *(one.tobytes() for one in arrays)))


def decode_profile(raw: bytes) -> Profile:
    """Decode what `encode_profile` made. Raises ValueError for anything else, NewerFormat."""
    if len(raw) > REVISION_BYTES:
        expect_known("profile", raw[REVISION_BYTES], "delete the user")
    if len(raw) < _HEADER.size:
        raise ValueError(f"expected a profile of codec {PROFILE_CODEC}, got {raw[: _HEADER.size]!r}: delete the user")
    revision, _, many, device, region, clicks, dim, older_ms, seen_ms, events, purchases, model = _HEADER.unpack_from(
        raw
    )
    at = _HEADER.size + device + region
    size = at + clicks * CLICK.itemsize + many * PAST_SESSION.itemsize + 4 * dim * (many + 1)
    if len(raw) != size:
        raise ValueError(f"expected a profile of {size} bytes, got {len(raw)}: it was cut short")
    window = np.frombuffer(raw, CLICK, clicks, at)
    at += window.nbytes
    sessions = np.frombuffer(raw, PAST_SESSION, many, at)
    at += sessions.nbytes
    numbers = np.frombuffer(raw, np.float32, dim * (many + 1), at).reshape(many + 1, dim).copy()  # in line, for kernels
    if not np.isfinite(numbers).all():
        raise ValueError("expected a profile of finite numbers")
    texts = _HEADER.size
    return Profile(
        window,
        sessions,
        numbers[:many],
        numbers[many],
        older_ms,
        events,
        purchases,
        raw[texts : texts + device].decode(),
        raw[texts + device : texts + device + region].decode(),
        seen_ms,
        model,
        revision,
    )


def is_newer(raw: bytes | None) -> bool:
    """Say whether a newer release wrote a stored profile, in a form that is not known here."""
    if raw is None or len(raw) <= REVISION_BYTES:
        return False
    try:
        expect_known("profile", raw[REVISION_BYTES])
    except ValueError as error:
        return isinstance(error, NewerFormat)
    return False


def revision_of(raw: bytes | None) -> bytes:
    """Return what a commit compares: the first bytes of what is stored, none where nothing is."""
    return b"" if raw is None else raw[:REVISION_BYTES]
