"""A session that the client keeps: signed, of bounded size, brought back with the next request. Pure.

A capsule is one text (base64url, at most MOST_CHARACTERS): version, the key's id, when the session began, its last
click and how many it had, the encoder's state after them, its newest clicks (25 bytes each: time, item, event,
meaning), and an HMAC-SHA256 of all that under a key of the deployment (RFC 2104; of the standard library, as it is in
every install and nothing else is asked of a signature here). It is signed, not encrypted: it says nothing but what the
client did. With the state, a request costs what one of a kept session does, and clicks that the window has let go of
count on; where it is of another model, or has no room, the clicks are encoded again.

A session whose idle gap is over is a new one, as it would be of a kept session. So a capsule expires by itself, and an
old key may go an idle gap after the new one came.
"""

from __future__ import annotations

import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from hashlib import sha256
from typing import Final, NamedTuple

import numpy as np

from contracts.api import MOST_CAPSULE
from contracts.sessions import CLICK, Session

MOST_CHARACTERS: Final = MOST_CAPSULE
VERSION: Final = 1
_ID_BYTES: Final = 4
_HEADER: Final = struct.Struct(f"<B{_ID_BYTES}sqqIQHB")
"""Version, key id, started_ms, last_ms, clicks ever counted, model, numbers of the state, is it incomplete?"""
_SIGNATURE: Final = sha256().digest_size
_ROOM: Final = MOST_CHARACTERS * 3 // 4 - _HEADER.size - _SIGNATURE
"""Bytes for state and clicks."""
MOST_STATE: Final = 256
"""Numbers of a state that is carried: 1 KB. A longer one is left out."""
SHORTEST_KEY: Final = 32
"""Characters of a key in settings."""
_NO_EMBEDDING: Final = np.empty(0, np.float32)
_AGAIN: Final = 'ask with `"capsule": ""` to begin anew'


class Ring(NamedTuple):
    """What capsules are signed with, and those that are taken: the current key first, then the one before."""

    keys: tuple[bytes, ...]


def ring_of(deployment: str, current: bytes, before: bytes = b"") -> Ring:
    """Return the keys of a deployment: of one secret, two deployments have two keys."""
    about = f"nextclick capsule {deployment}".encode()
    return Ring(tuple(hmac.digest(key, about, "sha256") for key in (current, before) if key))


def encode_capsule(ring: Ring, session: Session | None) -> str:
    """Return a session as a capsule; an empty text where there is no click."""
    if session is None or not len(session.window):
        return ""
    key = ring.keys[0]
    fits = len(session.embedding) <= MOST_STATE
    state, model = (session.embedding, session.model_version) if fits else (_NO_EMBEDDING, 0)
    window = session.window[-((_ROOM - 4 * len(state)) // CLICK.itemsize) :]
    counted = session.started_ms, session.last_ms, min(session.events, 2**32 - 1)
    header = _HEADER.pack(VERSION, _id_of(key), *counted, model, len(state), session.incomplete)
    told = header + state.astype("<f4").tobytes() + window.tobytes()
    return urlsafe_b64encode(told + hmac.digest(key, told, "sha256")).rstrip(b"=").decode()


def decode_capsule(ring: Ring, text: str, session_id: str, *, now_ms: int, idle_gap_ms: int) -> Session | None:
    """Return the session of a capsule, under the name of the request's; None for an empty text, and for one that is
    over: older than the idle gap.

    Raises ValueError for what this deployment did not sign, or not as it is.
    """
    if not text:
        return None
    told, signature = _parts(text)
    version, key_id, started_ms, last_ms, events, model, width, incomplete = _HEADER.unpack_from(told)
    if version != VERSION:
        raise ValueError(f"expected a capsule of version {VERSION}, got {version}: {_AGAIN}")
    is_over = now_ms - last_ms > idle_gap_ms
    key = next((one for one in ring.keys if _id_of(one) == key_id), None)
    if key is None:
        if is_over:  # whoever signed it, it would count no more
            return None
        raise ValueError(f"expected a capsule of this deployment, got one with a key that is not there: {_AGAIN}")
    if not hmac.compare_digest(signature, hmac.digest(key, told, "sha256")):
        raise ValueError(f"expected a capsule as an answer brought it, got one that was changed: {_AGAIN}")
    if is_over:
        return None
    state = np.frombuffer(told, np.float32, width, _HEADER.size).copy()  # in line, for kernels
    window = np.frombuffer(told, CLICK, offset=_HEADER.size + state.nbytes)
    return Session(session_id, None, started_ms, last_ms, events, -1, window, state, model, bool(incomplete))


def _parts(text: str) -> tuple[bytes, bytes]:
    """Return what a capsule tells, and its signature. Raises ValueError for what has another form."""
    try:
        if len(text) > MOST_CHARACTERS:
            raise ValueError
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        told, signature = raw[:-_SIGNATURE], raw[-_SIGNATURE:]
        if len(told) < _HEADER.size + CLICK.itemsize:
            raise ValueError
    except (NotBase64, UnicodeEncodeError, ValueError) as error:
        raise ValueError(
            f"expected the capsule of an answer, base64url of at most {MOST_CHARACTERS:,} characters: {_AGAIN}"
        ) from error
    return told, signature


def _id_of(key: bytes) -> bytes:
    return sha256(key).digest()[:_ID_BYTES]
