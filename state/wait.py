"""What a write waits for where the settings ask for replicas: WAIT, and what its answer means."""

from __future__ import annotations

from typing import Any, NamedTuple

import hiredis
import redis


class NotCopied(redis.ResponseError):
    """Redis took a write, and too few of its replicas have it: it may be lost. Sent again, it does no harm."""


def not_copied(copied: Any, wanted: int, within_ms: int) -> NotCopied | None:
    """Return what is wrong with what WAIT answered, if anything is."""
    if isinstance(copied, int) and copied >= wanted:
        return None
    got = f"{type(copied).__name__}: {copied}" if isinstance(copied, Exception) else copied
    return NotCopied(
        f"NOTCOPIED it took a write, but expected {wanted} replicas to have it after {within_ms} ms, got {got}"
    )


class Wait(NamedTuple):
    """How many replicas must have a write, and how long they have for it."""

    replicas: int
    within_ms: int

    def packed(self) -> bytes:
        command: tuple[Any, ...] = ("WAIT", self.replicas, self.within_ms)
        return bytes(hiredis.pack_command(command))

    def problem(self, answer: Any) -> NotCopied | None:
        return not_copied(answer, self.replicas, self.within_ms)
