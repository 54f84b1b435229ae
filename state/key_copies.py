"""Copies of a deployment's keys from one Redis to another, and how they take their place there in one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import redis

from contracts.errors import StateUnavailable
from state.client import is_cluster
from state.redis_snapshot import keys_of
from state.slots import slot_of

STAGED = b"restoring."
"""What stands before a deployment's prefix while its keys are on their way."""
_GONE = -2
_ROUND_BYTES = 4 << 20


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


def staged_keys(client: Any, prefix: str) -> Iterator[list[bytes]]:
    """Return the staged keys of a deployment, some at a time, each at least once."""
    for before in ("restoring.", "restoring.{"):
        yield from keys_of(client, before + prefix)


def copy_keys(source: Any, target: Any, prefix: str, named: Callable[[bytes], bytes] = lambda key: key) -> int:
    """Copy all keys of a deployment to another Redis or cluster, by another name, over what is there; returns how many.

    A key expires when it would have. What is written meanwhile may be copied or not: the caller sees to it that nothing
    is. Raises StateUnavailable where the target does not take them.
    """
    copied = 0
    for keys in keys_of(source, prefix, count=200):
        names = list(dict.fromkeys(keys))
        with source.pipeline(transaction=False) as asked:
            asked.time()
            for name in names:
                asked.pttl(name)
                asked.dump(name)
            (seconds, micros), *answers = asked.execute()
        now_ms = seconds * 1000 + micros // 1000
        rows = list(zip(names, answers[::2], answers[1::2], strict=True))
        copied += _put(target, [(named(name), now_ms, left, dump) for name, left, dump in rows])
    return copied


def _put(target: Any, rows: Sequence[tuple[bytes, int, int, bytes | None]]) -> int:
    put, held = 0, 0
    with target.pipeline(transaction=False) as pipeline:
        for name, now_ms, left_ms, dump in rows:
            if dump is None or left_ms == _GONE:
                continue  # it expired meanwhile
            expires_ms = now_ms + max(left_ms, 1) if left_ms >= 0 else 0
            pipeline.restore(name, expires_ms, dump, replace=True, absttl=True)
            put, held = put + 1, held + len(dump)
            if held > _ROUND_BYTES:
                _sent(pipeline)
                held = 0
        _sent(pipeline)
    return put


def _sent(pipeline: Any) -> None:
    try:
        pipeline.execute()
    except redis.ResponseError as error:
        raise StateUnavailable(
            f"expected Redis to take a copied key, got {error}: it needs a Redis as new as the one that was copied, "
            "room below its maxmemory, and a proto-max-bulk-len above its largest key"
        ) from error


def count_keys(client: Any, prefix: str) -> int:
    """Return how many keys a deployment has."""
    return sum(len(set(keys)) for keys in keys_of(client, prefix))


def drop_staged(client: Any, prefix: str) -> int:
    """Remove what a restore that was killed has left; returns how many keys it had on their way."""
    dropped = 0
    for keys in staged_keys(client, prefix):
        dropped += client.unlink(*keys)
    return dropped


def drop_others(client: Any, prefix: str) -> None:
    """Remove all keys that are not a deployment's."""
    mine, cursor = f"{prefix}:".encode(), 0
    while True:
        cursor, keys = client.scan(cursor, count=1000)
        if others := [key for key in keys if not key.startswith(mine)]:
            client.unlink(*others)
        if not cursor:
            return


def put_in_place(client: Any, prefix: str) -> None:
    """Let the staged keys of a deployment take the place of all that it had: in one transaction, of a cluster in one a
    slot. Whoever is stopped between two slots begins again.
    """
    arriving = {unstaged(name): name for names in staged_keys(client, prefix) for name in names}
    leaving = {key for keys in keys_of(client, prefix) for key in keys} - arriving.keys()
    changes = [("UNLINK", key) for key in leaving] + [("RENAME", name, key) for key, name in arriving.items()]
    for together in _by_slot(changes) if is_cluster(client) else [changes]:
        with client.pipeline(transaction=True) as pipeline:
            for words in together:
                pipeline.execute_command(*words)
            pipeline.execute()


def _by_slot(changes: Sequence[tuple[Any, ...]]) -> Iterable[list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {}
    for words in changes:
        found.setdefault(slot_of(words[1]), []).append(words)
    return found.values()
