"""What people wrote, copied from one deployment's Redis into another's: a second region has it from nowhere else.

Flows make sessions, profiles, the catalogue, trends and figures again from a copy of the log. Scenarios, experiments,
API keys, refusals of personalisation and users' documents are in Redis alone. All keys of a table are taken in one
transaction and put in one, so gateways of the copy follow it as their own. What is gone in the original goes in the
copy; but where all is gone, as of a Redis that came back without its disk, the copy keeps what it has.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Final, NamedTuple

import redis

from contracts.errors import StateUnavailable
from contracts.keys import API_KEYS, REFUSALS, SCENARIOS, Keys
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.holders import walking

TABLES: Final = (SCENARIOS, API_KEYS, REFUSALS)
"""Tables that people write, each whole in one slot. Experiments are among the documents of the scenarios' table."""
_USERS: Final = rb"\{p\d+\}:(user:.+|users)"
_ALONE: Final = rb"secret|\{erasures\}:secret|audit:.+"
_PAGE: Final = 500
_LIFE: Final = "documents_of"
"""Field of the copy's mirror: which life of the original the documents are of."""


class OriginalEmptied(StateUnavailable):
    """The original lost what people wrote. Its copy is the last one."""


class CopiedDocuments(NamedTuple):
    keys: int
    removed: int


def is_document(name: bytes) -> bool:
    """Say whether a key, without the deployment's prefix, holds what people wrote."""
    tables = b"|".join(table.encode() for table in TABLES)
    return re.fullmatch(rb"\{(%b)\}:.+|%b|%b" % (tables, _USERS, _ALONE), name, re.DOTALL) is not None


def copy_documents(source: RedisSettings, target: RedisSettings) -> CopiedDocuments:
    """Make the target's documents those of the source; returns how many keys were copied, and how many went.

    A reader of the target finds a table as it was before or as it is now, and a user's document likewise. Raises
    StateUnavailable: do it again; OriginalEmptied, with the copy as it was.
    """
    with closing(connect(source)) as original, closing(connect(target)) as copy:
        with redis_errors_translated(source):
            life = _life_of(original, source)
        with redis_errors_translated(target):
            _expect_same_life(copy, source, target, life)
        with redis_errors_translated(source), walking(original, source):  # what is passed by would go in the copy
            names = set(_documents(original, source.prefix))
        seen: set[bytes] = set()
        for together in _groups(names):
            with redis_errors_translated(source):
                rows = _taken(original, source.prefix, together)
            with redis_errors_translated(target):
                _put(copy, target.prefix, rows)
            seen.update(name for name, _, dump in rows if dump is not None)
        with redis_errors_translated(target):
            gone = [name for name in _documents(copy, target.prefix) if name not in seen]
            for page in _pages(gone):
                with copy.pipeline(transaction=False) as pipe:
                    for name in page:
                        pipe.unlink(_whole(target.prefix, name))
                    pipe.execute()
            if life:
                copy.hset(Keys(target.prefix).mirror(), _LIFE, life)
    return CopiedDocuments(len(seen), len(gone))


def _life_of(original: Any, source: RedisSettings) -> str:
    """Return what tells this life of a Redis from one after it was emptied: of the secret that the first gateway made
    in it, or nothing before that.
    """
    secret: bytes | None = original.get(Keys(source.prefix).secret())
    return hashlib.sha256(b"documents:" + secret).hexdigest() if secret else ""


def _expect_same_life(copy: Any, source: RedisSettings, target: RedisSettings, life: str) -> None:
    key = Keys(target.prefix).mirror()
    known: bytes | None = copy.hget(key, _LIFE)
    if known is not None and known.decode(errors="replace") != life:
        raise OriginalEmptied(
            f"expected the documents that were copied before, got a Redis at {source.place} that was emptied since, or "
            f"another: the copy keeps what it has. Restore the original; or, where it is to begin anew, delete the "
            f"field {_LIFE} of {key} in the copy's Redis, and what the original lacks goes in the copy too"
        )


def _documents(client: Any, prefix: str) -> Iterator[bytes]:
    """Yield the names of all documents' keys, without the prefix, each at least once."""
    begin = len(prefix) + 1
    for key in client.scan_iter(match=_escaped(prefix) + ":*", count=1000):
        if is_document(key[begin:]):
            yield key[begin:]


def _groups(names: set[bytes]) -> Iterator[list[bytes]]:
    """Yield names that are copied in one transaction: those of a table together, others by slot."""
    by_slot: dict[bytes, list[bytes]] = {}
    for name in names:
        tag = re.match(rb"\{[^}]+\}", name)
        by_slot.setdefault(tag[0] if tag else name, []).append(name)
    for slot, group in by_slot.items():
        whole = slot.strip(b"{}").decode() in TABLES
        yield from [group] if whole else _pages(group)


def _pages(names: Iterable[bytes]) -> Iterator[list[bytes]]:
    page: list[bytes] = []
    for name in names:
        page.append(name)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


_Row = tuple[bytes, int, bytes | None]


def _taken(client: Any, prefix: str, names: list[bytes]) -> list[_Row]:
    with client.pipeline(transaction=True) as pipe:
        for name in names:
            pipe.pttl(_whole(prefix, name))
            pipe.dump(_whole(prefix, name))
        answers = pipe.execute()
    return list(zip(names, answers[::2], answers[1::2], strict=True))


def _put(client: Any, prefix: str, rows: list[_Row]) -> None:
    try:
        with client.pipeline(transaction=True) as pipe:
            for name, left_ms, dump in rows:
                if dump is not None:
                    pipe.restore(_whole(prefix, name), max(left_ms, 0), dump, replace=True)
            pipe.execute()
    except redis.ResponseError as error:
        raise StateUnavailable(
            f"expected Redis to take a copied key, got {error}: it needs a Redis as new as the one that was copied, "
            "room below its maxmemory, and a proto-max-bulk-len above its largest key"
        ) from error


def _whole(prefix: str, name: bytes) -> bytes:
    return prefix.encode() + b":" + name


def _escaped(prefix: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in prefix)
