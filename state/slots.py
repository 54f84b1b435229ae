"""Which slot of a Redis Cluster a command is for, and what a node says that has not got it. Pure.

Source of the rules: the Redis Cluster specification (hash tags, MOVED and ASK redirection).
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

Address = tuple[str, int]
"""Host and port of a node."""

SLOTS: Final = 16384
_UNKNOWN: Final = "?"
"""What a node calls the host of one whose name it does not know (cluster-preferred-endpoint-type hostname)."""
_KEYLESS: Final = frozenset(
    b"PING ECHO INFO CONFIG TIME DBSIZE SCAN WAIT SCRIPT BGREWRITEAOF BGSAVE LASTSAVE CLUSTER COMMAND CLIENT ROLE "
    b"FLUSHALL FLUSHDB KEYS AUTH SELECT HELLO MULTI EXEC DISCARD UNWATCH ASKING ACL LATENCY SLOWLOG REPLICAOF FAILOVER "
    b"SYNC PSYNC REPLCONF SWAPDB SAVE SHUTDOWN".split()
)
_SECOND: Final = frozenset(b"OBJECT MEMORY XINFO XGROUP DEBUG".split())
"""Commands of two words before the key."""
_COUNTED: Final = frozenset(b"EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO".split())
"""Commands that say how many keys they have."""
READS: Final = frozenset(
    b"GET MGET STRLEN GETRANGE EXISTS TYPE TTL PTTL HGET HMGET HGETALL HLEN HEXISTS HSTRLEN HKEYS HVALS HSCAN LRANGE "
    b"LLEN LINDEX SCARD SMEMBERS SISMEMBER SSCAN ZCARD ZCOUNT ZRANGE ZREVRANGE ZRANGEBYSCORE ZREVRANGEBYSCORE ZSCORE "
    b"ZMSCORE ZRANK ZSCAN XRANGE XREVRANGE XREAD XLEN XINFO DUMP MEMORY OBJECT".split()
)
"""Commands that change nothing: asking one twice does no harm. Scripts are not among them, whatever they do."""


def slot_of(key: bytes) -> int:
    """Return the slot of a key: CRC16 of what stands in its first braces, if anything does, else of all of it."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 2)
        if end > 0 and key[start + 1 : start + 2] != b"}":
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


_MOST_TAGS: Final = 16 * SLOTS


def tags_of(owners: Sequence[Address | None]) -> list[str]:
    """Return a word for each node that has slots: what stands in the braces of a key in one of them."""
    wanted, found = {node for node in owners if node is not None}, dict[Address, str]()
    for number in range(_MOST_TAGS):
        if len(found) == len(wanted):
            break
        tag = b"%d" % number
        if (node := owners[slot_of(tag)]) is not None and node not in found:
            found[node] = tag.decode()
    return list(found.values())


def as_bytes(word: Any) -> bytes:
    """Return a word of a command as it is sent."""
    if isinstance(word, bytes):
        return word
    return word.encode() if isinstance(word, str) else b"%d" % word if isinstance(word, int) else str(word).encode()


def name_of(command: Sequence[Any]) -> bytes:
    """Return the first word of a command's name, in capitals."""
    name = as_bytes(command[0])
    return (name if b" " not in name else name.split()[0]).upper()


def key_of(command: Sequence[Any]) -> bytes | None:
    """Return a command's first key, of which its slot is; None of one that has none."""
    name = name_of(command)
    if name in _KEYLESS:
        return None
    if name in _COUNTED:
        return as_bytes(command[3]) if int(command[2]) else None
    if name in (b"XREAD", b"XREADGROUP"):
        words = [as_bytes(word).upper() for word in command]
        return as_bytes(command[words.index(b"STREAMS") + 1])
    words_before = 2 if name in _SECOND and b" " not in as_bytes(command[0]) else 1
    return as_bytes(command[words_before]) if len(command) > words_before else None


_KEY_FIRST: Final = frozenset(
    name
    for word in READS
    | frozenset(
        b"SET SETNX DEL UNLINK INCR INCRBY DECRBY HINCRBY HSET HDEL EXPIRE PEXPIRE RPUSH LPUSH LTRIM LREM ZADD ZREM "
        b"ZREMRANGEBYSCORE ZREMRANGEBYRANK XADD XTRIM XDEL SETRANGE RESTORE".split()
    )
    for name in (word, word.decode())
    if word not in _SECOND and word != b"XREAD"
)
_SCRIPTS: Final = frozenset((b"EVAL", b"EVALSHA", "EVAL", "EVALSHA"))
_SLOTS_OF: Final[dict[bytes, int]] = {}
"""Slots by what stands in braces, of which there are few."""


def split(commands: Sequence[Sequence[Any]], owners: Sequence[Address | None]) -> dict[Address, list[int]] | None:
    """Return the places of commands by the node that has their slot; None where one of them needs a closer look."""
    places: dict[Address, list[int]] = {}
    for at, command in enumerate(commands):
        name = command[0]
        if name in _KEY_FIRST:
            key = command[1]
        elif name in _SCRIPTS and int(command[2]):
            key = command[3]
        else:
            return None
        if type(key) is str:
            key = key.encode()
        start = key.find(b"{")
        tag = key[start : key.find(b"}", start + 1) + 1] if start >= 0 else b""
        slot = _SLOTS_OF.get(tag)
        if slot is None:
            slot = slot_of(key)
            if len(tag) > 2 and len(_SLOTS_OF) < SLOTS:
                _SLOTS_OF[tag] = slot
        if (node := owners[slot]) is None:
            return None
        if node in places:
            places[node].append(at)
        else:
            places[node] = [at]
    return places


class Why(Enum):
    """Why a node did not do what it was asked, though another one, or the same one later, would."""

    MOVED = "the slot is another node's"
    ASK = "this key is at another node already, the slot is not"
    LATER = "the slot is being moved, or has no node now"


_LATER: Final = frozenset(
    ("TryAgainError", "ClusterDownError", "MasterDownError", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN")
)
"""Errors by which a node asks for patience: as redis-py's types, and as they came."""


class Redirect(NamedTuple):
    why: Why
    to: Address | None = None
    """Where to ask; an empty host means the one that said so."""


def redirect_of(answer: Any) -> Redirect | None:
    """Return where an error sends us: as it came (`MOVED 3999 10.0.0.7:6381`), or as redis-py made a type of it."""
    if not isinstance(answer, Exception):
        return None
    kind, said = type(answer).__name__, str(answer)
    first, _, rest = said.partition(" ")
    code = {"MovedError": "MOVED", "AskError": "ASK"}.get(kind)
    if code is None and first in ("MOVED", "ASK"):
        code, said = first, rest
    if code is not None:
        host, _, port = said.partition(" ")[2].rpartition(":")
        if not port.isdecimal():
            return None  # no node of a cluster says so: it is an error like any other
        return Redirect(Why[code], ("" if host == _UNKNOWN else host.strip("[]"), int(port)))
    if kind in ("TryAgainError", "ClusterDownError", "MasterDownError") or first in (
        "TRYAGAIN",
        "CLUSTERDOWN",
        "MASTERDOWN",
    ):
        return Redirect(Why.LATER)
    return None


def owners_in(answer: Sequence[Any], told_by: Address) -> list[Address | None]:
    """Return each slot's primary, of what CLUSTER SLOTS answers; None of a slot that has none."""
    owners: list[Address | None] = [None] * SLOTS
    for first, last, primary, *_ in answer:
        host = primary[0].decode() if isinstance(primary[0], bytes) else (primary[0] or "")
        address = (host if host not in ("", _UNKNOWN) else told_by[0], int(primary[1]))
        owners[int(first) : int(last) + 1] = [address] * (int(last) - int(first) + 1)
    return owners
