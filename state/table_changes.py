"""Changes of a table as its stream tells of them, and when a reader may not go on by them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from contracts.errors import NextclickError

TOGETHER: Final = 16
"""The most changes that an entry tells of."""


class ChangesTrimmed(NextclickError):
    """The wanted changes are no longer there, or may be others after a restart of Redis: load the rows again."""


class Change(NamedTuple):
    """One change of a table. `row` is None when the row was deleted."""

    number: int
    key: bytes
    row: bytes | None


def before(since: int) -> str:
    """Return the id in the stream after which change `since` stands."""
    return f"{since - 1}-1" if since > 0 else "0-0"


def expect_not_rolled_back(since: int, end: int) -> None:
    """Raise ChangesTrimmed for a table that ends before the change that is waited for."""
    if end < since:
        raise ChangesTrimmed(f"waiting for change {since}, but the table ends at {end}: Redis lost its last writes")


def expect_same_connections(begun: int, made: int) -> None:
    """Raise ChangesTrimmed when more connections were made than when reading began; 0: it has not begun."""
    if begun not in (0, made):
        raise ChangesTrimmed("the connection to Redis was lost since reading began: it may lack its last writes")


def expect_kept_since(since: int, oldest: int) -> None:
    """Raise ChangesTrimmed when the oldest change that is kept came after the wanted one."""
    if oldest > since:
        raise ChangesTrimmed(f"wanted change {since}, the oldest kept is {oldest}: load the rows again")


def entries_of(count: int) -> int:
    """Return how many entries of the stream to ask for, that none is read to be thrown away."""
    return -(-count // TOGETHER)


def parse_changes(found: Any, since: int, count: int) -> tuple[list[Change], bool]:
    """Return at most `count` changes of an XREAD of one stream, in Redis's plain lists; and whether these are all: so
    many, or as many as there are.
    """
    if not found:
        return [], True
    entries = found[0][1] if isinstance(found, list) else next(iter(found.values()))
    changes: list[Change] = []
    try:
        for name, fields in entries:
            told = list(_told(int(name[: name.index(b"-")]), fields))
            if changes and told[0].number != changes[-1].number + 1:  # entries are missing: the next reading says so
                entries = ()
                break
            changes += told
    except (IndexError, ValueError, TypeError) as error:
        raise ChangesTrimmed(
            f"an entry behind {since} of the stream is no change ({error!r}): load the rows again"
        ) from error
    expect_kept_since(since, changes[0].number)
    known = since - changes[0].number  # of the first entry, where reading stopped in the middle of it
    wanted = changes[known : known + count]
    return wanted, len(wanted) == count or len(entries) < entries_of(count)


def _told(last: int, fields: list[bytes]) -> Iterable[Change]:
    """Return the changes that an entry of the stream tells of, of which `last` is the last one's number."""
    what, count = fields[0], int(fields[1])
    if what not in (b"put", b"delete") or not 0 < count <= len(fields):
        raise ValueError(f"{count} times {what!r}")
    keys, rows = (fields[2::2], fields[3::2]) if what == b"put" else (fields[2 : 2 + count], [None] * count)
    if not len(keys) == len(rows) == count:
        raise ValueError(f"{count} times {what!r}, of {len(keys)} keys")
    return map(Change, range(last + 1 - count, last + 1), keys, rows)
