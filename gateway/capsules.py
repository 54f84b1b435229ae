"""Capsules at the door: sessions that clients keep (`rights.capsule`), opened and closed with the deployment's keys."""

from __future__ import annotations

from aiohttp import web

from contracts.sessions import Session
from gateway.problems import FieldProblem, out_of_range
from gateway.secret import Secret
from gateway.settings import CapsuleOptions
from rights.capsule import Ring, decode_capsule, encode_capsule, ring_of

_POINTER = "/capsule"


class Capsules:
    """Belongs to one gateway process."""

    def __init__(self, options: CapsuleOptions, secret: Secret, deployment: str, idle_gap_ms: int) -> None:
        self._options, self._secret, self._deployment = options, secret, deployment
        self._idle_gap_ms = idle_gap_ms
        self._ring, self._made_of = Ring(()), b""

    def open(self, text: str, session_id: str, now_ms: int) -> Session | None:
        """Return the session of a capsule; None where it has none, or is over. Raises Refused (422)."""
        try:
            return decode_capsule(self._keys(), text, session_id, now_ms=now_ms, idle_gap_ms=self._idle_gap_ms)
        except ValueError as error:
            problem = FieldProblem(pointer=_POINTER, detail=str(error))
            raise out_of_range(f"{_POINTER}: {error}", [problem]) from error

    def close(self, session: Session | None) -> str:
        """Return a session as a capsule."""
        return encode_capsule(self._keys(), session)

    def _keys(self) -> Ring:
        current = self._options.key.encode() or self._secret.value  # the secret is learnt from Redis after the start
        if current != self._made_of:
            self._ring = ring_of(self._deployment, current, self._options.old_key.encode())
            self._made_of = current
        return self._ring


CAPSULES = web.AppKey("capsules", Capsules)
