"""What Redis's answers mean beyond their text: whether it kept what it answered for, and what to do about an error.

Redis hands a round's writes to the kernel before it sends the round's answers. When that fails (a full disk) it sends
them all the same, keeps the bytes in memory, refuses later writes, and has lost those bytes if it ends. So an answer
alone promises nothing: whoever promises asks once more. PING is the cheapest question: since 2.8, a Redis that could
not write its append-only file refuses it with MISCONF.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, Final

from contracts.keys import UNSYNCED
from contracts.tls_advice import tls_advice

log = logging.getLogger("nextclick.redis")

_PASSWORD = "check user and password in NEXTCLICK_REDIS__URL"
_ADVICE: Final = {
    "OOM": "OOM: it is at its maxmemory: raise that, or take something out of it",
    "MISCONF": "it cannot write to its disk: make room there",
    "READONLY": "it is a replica: name its master in NEXTCLICK_REDIS__URL",
    "LOADING": "it still reads its files: wait",
    "BUSY": "somebody's script takes too long: SCRIPT KILL ends it",
    "NOREPLICAS": "it has too few replicas for its min-replicas-to-write",
    "NOTCOPIED": "its replicas are away or behind: see INFO replication, or lower NEXTCLICK_REDIS__WAIT_REPLICAS",
    "CLUSTERDOWN": "some of its slots have no primary: wait for a replica to take over, see CLUSTER INFO",
    "MOVED": "it belongs to a cluster: set NEXTCLICK_REDIS__KIND=cluster",
    "TRYAGAIN": "a slot is being moved to another node: wait",
    "CROSSSLOT": "keys of ours that go together lie in two slots, which is a mistake of ours: report it",
    "NOAUTH": _PASSWORD,
    "WRONGPASS": _PASSWORD,
    "NOPERM": "give its user the right to do this",
    "WRONGTYPE": "a key of ours holds something else: see what it is (TYPE), and remove it, or name another prefix",
}
REFUSALS: Final = frozenset({"OOM", "MISCONF", "READONLY", "NOREPLICAS"})
"""Codes of a Redis that answers, and takes no writes."""
_TYPES: Final = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "NoPermissionError": "NOPERM",
    "AuthenticationError": "NOAUTH",
    "ClusterDownError": "CLUSTERDOWN",
    "TryAgainError": "TRYAGAIN",
    "MovedError": "MOVED",
    "ClusterCrossSlotError": "CROSSSLOT",
}
"""Types of the client that took the code out of the text."""
_IN_A_SCRIPT: Final = re.compile(rf"(?<![\w.])-?({'|'.join(_ADVICE)})\b")
"""Before 7.0 a script's error is an ERR, and the code stands inside it."""

_CA, _CERTIFICATE = "NEXTCLICK_REDIS__TLS_CA", "NEXTCLICK_REDIS__TLS_CERTIFICATE and NEXTCLICK_REDIS__TLS_KEY"

_ASKED = (("PING",), ("GET", UNSYNCED))
_ASKED_OF_A_NODE = (("PING",),)
"""Whoever syncs a Redis's files from outside is beside the embedded one: no node of a cluster has UNSYNCED."""
_ASKED_FIRST = (("INFO", "persistence"), ("CONFIG", "GET", "appendfsync"))


def code_of(error: Exception) -> str | None:
    """Return the code of an answer of Redis that is an error, such as OOM: the sentences behind it differ from version
    to version. None where it has none that says anything.
    """
    said = str(error)
    first = said.partition(" ")[0].removeprefix("-")
    if first in _ADVICE:
        return first
    if type(error).__name__ in _TYPES:
        return _TYPES[type(error).__name__]
    inside = _IN_A_SCRIPT.search(said)
    return inside[1] if inside else None


_LONGEST: Final = 15
"""Digits of a number of ours: what a double holds exactly, as scripts count in those."""

WHOLE_LUA: Final = """
local function whole(answer)
  if type(answer) == 'string' and #answer <= 15 and string.find(answer, '^%d+$') then return tonumber(answer) end
end
local function newest_of(stream)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  return last and tonumber(string.match(last[1], '^%d+'))
end
local function forget_other_kind(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
"""
"""For scripts: `whole` as below, the number in the id of a stream's newest entry (nil without one), and how a key that
holds another kind of thing is written over.
"""


def whole(answer: object) -> int | None:
    """Return the number that Redis keeps under a key or field of ours; None where there is none, or something that is
    no number: damage, which must end nobody who asks.
    """
    if isinstance(answer, bytes) and len(answer) <= _LONGEST and answer.isdigit():
        return int(answer)
    return None


def is_other_kind(answer: object) -> bool:
    """Tell whether Redis refused because the key holds another kind of thing: a list where a hash should be."""
    return isinstance(answer, Exception) and str(answer).startswith("WRONGTYPE")


def advice(error: Exception, *, tls: bool = False) -> str:
    """Return what to do about an error of the Redis client, by the code of Redis's answer, or by what TLS said."""
    if found := tls_advice(error, ca=_CA, certificate=_CERTIFICATE, address="NEXTCLICK_REDIS__URL"):
        return found
    if code := code_of(error):
        return _ADVICE[code]
    if "cluster support disabled" in str(error):
        return "it is no node of a cluster: leave NEXTCLICK_REDIS__KIND and NEXTCLICK_REDIS__NODES out, or name a node"
    more = f". It may speak no TLS there, or want a certificate of ours: {_CERTIFICATE}" if tls else ""
    return f"check that it runs and can be reached, and NEXTCLICK_REDIS__URL{more}"


class WriteCheck:
    """Tells whether writes that Redis answered for are kept. Ask `questions` after the answer, never with the write.

    The first time it also looks at what this Redis can promise at all, and says in the log what it cannot.
    """

    def __init__(self, place: str, *, of_a_node: bool = False) -> None:
        self._place = place
        self._asked: Sequence[tuple[str, ...]] = _ASKED_OF_A_NODE if of_a_node else _ASKED
        self._looked = False
        self._said: set[str] = set()

    def questions(self) -> Sequence[tuple[str, ...]]:
        """Return commands for one pipeline; any of them may be answered with an error."""
        return self._asked if self._looked else (*self._asked, *_ASKED_FIRST)

    def problem(self, answers: Sequence[Any]) -> str | None:
        """Return why the writes before the questions cannot be promised to be kept; None when they are."""
        count = len(self._asked)
        if len(answers) > count:
            self._looked = True
            self._look(*answers[count:])
        pong, unsynced = (*answers[:count], None)[:2]
        if isinstance(pong, Exception) and not self._is_denied(pong):
            return f"{type(pong).__name__}: {pong}; {advice(pong)}"
        return unsynced.decode() if isinstance(unsynced, bytes) else None

    def _is_denied(self, error: Exception) -> bool:
        """A Redis that does not let us ask is taken at its word."""
        denied = code_of(error) == "NOPERM" or str(error).startswith(("unknown command", "ERR unknown command"))
        if denied:
            self._say(f"refuses to tell whether it wrote what it answered for ({error}): that is not checked")
        return denied

    def _look(self, persistence: Any, policy: Any) -> None:
        if isinstance(persistence, Exception):
            self._say(f"refuses to tell whether it keeps an append-only file ({persistence}): that is not checked")
        elif _has_no_file(persistence):
            self._say("keeps no append-only file: what it takes is gone when it ends. Set appendonly to yes")
        elif "everysec" in str(policy):
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
