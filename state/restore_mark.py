"""The mark of a restore: while it is there, what Redis holds of a deployment is on its way, or was left half-way.

A restore that copies keys beside those that are there refreshes it: killed, it leaves all as it was, and the mark goes
by itself. One that has begun to put them in place leaves it for good, until another restore has come to its end.
"""

from __future__ import annotations

import secrets
from contextlib import closing, suppress
from enum import StrEnum
from time import monotonic
from typing import Any, Final

from contracts.errors import RestoreUnderWay, StateUnavailable
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated

EXPIRES_MS: Final = 120_000
_AGAIN_S: Final = 5.0
"""A restore that copies refreshes its mark this often."""


class Step(StrEnum):
    """How far a restore is."""

    COPYING = "copying"
    """Nothing that was there has changed."""
    PLACING = "placing"
    """Some of what is there is of the backup, and some is not."""


class RestoreMark:
    """A restore's own mark. Raises redis.RedisError and OSError, and StateUnavailable once another restore began."""

    def __init__(self, prefix: str, since: str) -> None:
        """`since`: when the restore began, for people; without spaces."""
        self._key = Keys(prefix).restoring()
        self._since, self._token = since, secrets.token_hex(8)
        self._step, self._next_s = Step.COPYING, 0.0

    def set(self, client: Any, step: Step) -> None:
        """Mark the state, in the place of any other restore's mark."""
        self._step, self._next_s = step, monotonic() + _AGAIN_S
        told = f"{step} {self._since} {self._token}"
        client.set(self._key, told, px=EXPIRES_MS if step is Step.COPYING else None)

    def look(self, client: Any) -> None:
        """Refresh the mark, if it is time to."""
        if monotonic() >= self._next_s:
            self.expect_own(client)
            self.set(client, self._step)

    def expect_own(self, client: Any) -> None:
        """Raise StateUnavailable where another restore has begun since."""
        found = client.get(self._key)
        if found is not None and not found.endswith(self._token.encode()):
            raise StateUnavailable("another restore of this deployment has begun since: this one stops")

    def remove(self, client: Any) -> None:
        """Say that all is whole again."""
        client.delete(self._key)


def step_of(told: bytes | None) -> Step | None:
    """Return how far a restore is, or was when it was stopped; None where there is none. What cannot be read is one
    that was stopped half-way.
    """
    if told is None:
        return None
    return Step.COPYING if told.startswith(b"copying ") else Step.PLACING


def sentence(told: bytes, where: str) -> str:
    """Return what a mark means and what to do, for people."""
    words = told.decode(errors="replace").split()
    since = words[1][:40] if len(words) > 1 else "an unknown time"
    if step_of(told) is Step.COPYING:
        return (
            f"{where}: expected a whole deployment, found a backup that is being restored into it since {since}: wait "
            f"until `nextclick restore` has ended. Where it was killed nothing had changed, and this goes by itself "
            f"within {EXPIRES_MS // 60_000} minutes"
        )
    return (
        f"{where}: expected a whole deployment, found half of a backup: a restore began at {since} and has not ended. "
        "Wait until it has; where it was killed run `nextclick restore` again, with --replace"
    )


def mark_in(settings: RedisSettings) -> bytes | None:
    """Return the mark of a deployment. Raises StateUnavailable."""
    with redis_errors_translated(settings), closing(connect(settings)) as client:
        found = client.get(Keys(settings.prefix).restoring())
    return found if isinstance(found, bytes) else None


def expect_whole(settings: RedisSettings) -> None:
    """Raise RestoreUnderWay for a deployment that is being restored, or was left half-way. A Redis that does not answer
    says nothing: whoever needs it waits for it.
    """
    with suppress(StateUnavailable):
        if (told := mark_in(settings)) is not None:
            raise RestoreUnderWay(sentence(told, f"Redis at {settings.place}, prefix {settings.prefix!r}"))
