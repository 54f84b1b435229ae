"""Copies of a deployment's keys from one Redis to another, and how they take their place there in one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

import redis

from contracts.errors import StateUnavailable
from contracts.keys import Keys
from state.bulk import Command, answered_by, expect_answers, read_ahead, transacted
from state.client import is_cluster, servers_of
from state.redis_snapshot import escaped, keys_like, keys_of
from state.slots import slot_of
from state.wait import NotCopied
from state.waiting import waits_of

STAGED = b"restoring."
"""What stands before a deployment's prefix while its keys are on their way."""
_GONE: Final = -2
_ROUND_BYTES: Final = 4 << 20
_KEYS_AT_ONCE: Final = 1000
_NAMES_AT_ONCE: Final = 5000


def staged(key: bytes) -> bytes:
    """Return the name of a key that has not taken its place yet: of the same slot, unless the key has odd braces."""
    name = STAGED + key
    return name if slot_of(name) == slot_of(key) else STAGED + b"{" + key + b"}"


def staged_in_slot(key: bytes) -> bytes:
    """Return the name of a key that has not taken its place yet, in a cluster. Raises StateUnavailable for a key with
    odd braces, which no name of this form has the slot of: nothing of ours writes one.
    """
    name = staged(key)
    if slot_of(name) != slot_of(key):
        raise StateUnavailable(
            f"expected keys with braces in pairs, or none, got {key.decode(errors='replace')[:100]!r}: no cluster can "
            "rename another to it. Rename or remove it where the backup is taken"
        )
    return name


def unstaged(name: bytes) -> bytes:
    """Return the key that a staged one becomes."""
    key = name.removeprefix(STAGED)
    return key[1:-1] if key.startswith(b"{") and key.endswith(b"}") and staged(key[1:-1]) == name else key


def copy_keys(
    source: Any,
    target: Any,
    prefix: str,
    named: Callable[[bytes], bytes] = lambda key: key,
    told: Callable[[], None] = lambda: None,
) -> int:
    """Copy all keys of a deployment to another Redis or cluster, by another name, over what is there; returns how many.
    `told` is called again and again meanwhile.

    A key expires when it would have. What is written meanwhile may be copied or not: the caller sees to it that nothing
    is. Raises StateUnavailable where the target does not take them.
    """
    copied = 0
    for now_ms, rows in read_ahead(_dumped(source, prefix)):
        copied += _put(target, [(named(name), now_ms, left, dump) for name, left, dump in rows])
        told()
    return copied


def _dumped(source: Any, prefix: str) -> Iterator[tuple[int, list[tuple[bytes, int, bytes | None]]]]:
    """Return the keys of a deployment, some at a time: the moment, and each with its time left and its content."""
    for keys in keys_of(source, prefix, count=_KEYS_AT_ONCE):
        names = list(dict.fromkeys(keys))
        asked: list[Command] = [("TIME",)]
        for name in names:
            asked += [("PTTL", name), ("DUMP", name)]
        (seconds, micros), *answers = expect_answers(answered_by(source, asked))
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        yield now_ms, list(zip(names, answers[::2], answers[1::2], strict=True))


def _put(target: Any, rows: Sequence[tuple[bytes, int, int, bytes | None]]) -> int:
    put, held, commands = 0, 0, list[Command]()
    for name, now_ms, left_ms, dump in rows:
        if dump is None or left_ms == _GONE:
            continue  # it expired meanwhile
        expires_ms = now_ms + max(left_ms, 1) if left_ms >= 0 else 0
        commands.append(("RESTORE", name, expires_ms, dump, "REPLACE", "ABSTTL"))
        put, held = put + 1, held + len(dump)
        if held > _ROUND_BYTES:
            _sent(target, commands)
            held, commands = 0, []
    if commands:
        _sent(target, commands)
    return put


def _sent(target: Any, commands: Sequence[Command]) -> None:
    try:
        expect_answers(answered_by(target, commands, waits_of(target)))
    except NotCopied:
        raise
    except redis.ResponseError as error:
        raise StateUnavailable(
            f"expected Redis to take a copied key, got {error}: it needs a Redis as new as the one that was copied, "
            "room below its maxmemory, and a proto-max-bulk-len above its largest key"
        ) from error


class Held(NamedTuple):
    """A deployment's keys on one server: those that are in their places, and staged ones by what they become."""

    there: set[bytes]
    arriving: dict[bytes, bytes]


def held_by(client: Any, prefix: str) -> list[Held]:
    """Return a deployment's keys, by server that takes writes, without the mark of a restore."""
    servers = servers_of(client)
    with ThreadPoolExecutor(len(servers)) as several:
        return list(several.map(partial(_held, prefix=prefix), servers))


def _held(server: Any, prefix: str) -> Held:
    mine, found = f"{prefix}:".encode(), Held(set(), {})
    for names in keys_like(server, f"*{escaped(prefix)}:*", count=_NAMES_AT_ONCE):
        for name in names:
            if name.startswith(mine):
                found.there.add(name)
            elif name.startswith(STAGED) and (key := unstaged(name)).startswith(mine):
                found.arriving[key] = name
    found.there.discard(Keys(prefix).restoring().encode())
    return found


def drop_keys(client: Any, names: Iterable[bytes]) -> None:
    """Remove keys, some at a time."""
    several = iter(names)
    while some := list(islice(several, _NAMES_AT_ONCE)):
        client.unlink(*some)


def drop_staged(client: Any, prefix: str) -> int:
    """Remove what a restore that was killed has left; returns how many keys it had on their way."""
    names = [name for held in held_by(client, prefix) for name in held.arriving.values()]
    drop_keys(client, names)
    return len(names)


def drop_others(client: Any, prefix: str) -> None:
    """Remove all keys that are not a deployment's."""
    mine, cursor = f"{prefix}:".encode(), 0
    while True:
        cursor, keys = client.scan(cursor, count=1000)
        if others := [key for key in keys if not key.startswith(mine)]:
            client.unlink(*others)
        if not cursor:
            return


def put_in_place(client: Any, prefix: str, everything: Sequence[Held]) -> None:
    """Let the staged keys of a deployment take the place of all that it had: in one transaction, of a cluster in one a
    slot. `everything` is what `held_by` has just found. Whoever is stopped between two slots begins again. Of one Redis
    the mark of a restore goes with that.
    """
    servers, mark = servers_of(client), Keys(prefix).restoring()
    changes = [list(_by_slot(_changes(held))) for held in everything]
    if not is_cluster(client):
        changes = [[[command for one in changes[0] for command in one] + [("UNLINK", mark)]]]
    with ThreadPoolExecutor(len(servers)) as several:
        list(several.map(partial(transacted, wait=waits_of(client)), servers, changes))


def _changes(held: Held) -> list[Command]:
    """Return how staged keys take their places, and all others go."""
    leaving = [("UNLINK", key) for key in held.there - held.arriving.keys()]
    return leaving + [("RENAME", name, key) for key, name in held.arriving.items()]


def _by_slot(changes: Sequence[Command]) -> Iterable[list[Command]]:
    found: dict[int, list[Command]] = {}
    for words in changes:
        found.setdefault(slot_of(words[1]), []).append(words)
    return found.values()
