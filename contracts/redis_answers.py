"""What Redis's answers mean beyond their text: whether it kept what it answered for, and what to do about an error.

Redis hands a round's writes to the kernel before it sends the round's answers. When that fails (a full disk) it sends
them all the same, keeps the bytes in memory, refuses later writes, and has lost those bytes if it ends. So an answer
alone promises nothing: whoever promises asks once more. PING is the cheapest question: since 2.8, a Redis that could
not write its append-only file refuses it with MISCONF.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from contracts.keys import UNSYNCED
from contracts.tls_advice import tls_advice

log = logging.getLogger("nextclick.redis")

_ADVICE = (
    (("OutOfMemory", "OOM"), "OOM: it is at its maxmemory: raise that, or take something out of it"),
    (("MISCONF",), "it cannot write to its disk: make room there"),
    (("ReadOnly", "READONLY"), "it is a replica: name its master in NEXTCLICK_REDIS__URL"),
    (("BusyLoading", "LOADING"), "it still reads its files: wait"),
    (("is busy running",), "somebody's script takes too long: SCRIPT KILL ends it"),
    (("NOREPLICAS",), "it has too few replicas for its min-replicas-to-write"),
    (("Authentication", "NOAUTH", "WRONGPASS"), "check user and password in NEXTCLICK_REDIS__URL"),
    (("NoPermission", "NOPERM", "no permissions", "can't run this command"), "give its user the right to do this"),
)

_CA, _CERTIFICATE = "NEXTCLICK_REDIS__TLS_CA", "NEXTCLICK_REDIS__TLS_CERTIFICATE and NEXTCLICK_REDIS__TLS_KEY"

_ASKED = (("PING",), ("GET", UNSYNCED))
_ASKED_FIRST = (("INFO", "persistence"), ("CONFIG", "GET", "appendfsync"))


def advice(error: Exception, *, tls: bool = False) -> str:
    """Return what to do about an error of the Redis client, by the code of Redis's answer, or by what TLS said."""
    if found := tls_advice(error, ca=_CA, certificate=_CERTIFICATE, address="NEXTCLICK_REDIS__URL"):
        return found
    said = f"{type(error).__name__}: {error}"  # the client takes some codes out of the text and into the type
    for codes, what_to_do in _ADVICE:
        if any(code in said for code in codes):
            return what_to_do
    more = f". It may speak no TLS there, or want a certificate of ours: {_CERTIFICATE}" if tls else ""
    return f"check that it runs and can be reached, and NEXTCLICK_REDIS__URL{more}"


class WriteCheck:
    """Tells whether writes that Redis answered for are kept. Ask `questions` after the answer, never with the write.

    The first time it also looks at what this Redis can promise at all, and says in the log what it cannot.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._looked = False
        self._said: set[str] = set()

    def questions(self) -> Sequence[tuple[str, ...]]:
        """Return commands for one pipeline; any of them may be answered with an error."""
        return _ASKED if self._looked else (*_ASKED, *_ASKED_FIRST)

    def problem(self, answers: Sequence[Any]) -> str | None:
        """Return why the writes before the questions cannot be promised to be kept; None when they are."""
        if len(answers) > len(_ASKED):
            self._looked = True
            self._look(*answers[len(_ASKED) :])
        pong, unsynced = answers[: len(_ASKED)]
        if isinstance(pong, Exception) and not self._is_denied(pong):
            return f"{type(pong).__name__}: {pong}; {advice(pong)}"
        return unsynced.decode() if isinstance(unsynced, bytes) else None

    def _is_denied(self, error: Exception) -> bool:
        """A Redis that does not let us ask is taken at its word."""
        denied = "no permission" in str(error) or "unknown command" in str(error)
        if denied:
            self._say(f"refuses to tell whether it wrote what it answered for ({error}): that is not checked")
        return denied

    def _look(self, persistence: Any, policy: Any) -> None:
        if isinstance(persistence, Exception):
            self._say(f"refuses to tell whether it keeps an append-only file ({persistence}): that is not checked")
        elif _has_no_file(persistence):
            self._say("keeps no append-only file: what it takes is gone when it ends. Set appendonly to yes")
        if "everysec" in str(policy):
            self._say("has appendfsync everysec: it may answer two seconds before it writes. Set it to no or always")

    def _say(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            log.warning("Redis at %s %s", self._place, what)


def _has_no_file(persistence: Any) -> bool:
    """Tell whether INFO says that there is no append-only file: as it came, or as redis-py reads it."""
    if isinstance(persistence, bytes):
        return b"aof_enabled:0" in persistence
    return int(persistence.get("aof_enabled", 1)) == 0
