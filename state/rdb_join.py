"""Snapshots of several primaries, joined to one RDB file. Source: Redis's RDB file format.

A Redis reads databases from an RDB file for as long as there are any. So the databases of one snapshot may follow those
of another, as long as no key is in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

from contracts.errors import StateUnavailable
from state.redis_snapshot import MAGIC, SnapshotFacts, databases_at, snapshot_facts, sync_file

_CHUNK = 1 << 20
_FORMAT_BYTES = len(MAGIC) + 4
_TAIL_BYTES = 9
"""The mark of the end, and a checksum."""
_END_UNCHECKED = b"\xff" + bytes(8)


def join_snapshots(parts: Sequence[Path], path: Path) -> SnapshotFacts:
    """Write one RDB file of several, and remove those; returns what it holds. Databases keep their numbers.

    The file has no checksum of its own: whoever keeps it adds one. Libraries of functions are taken from the first.
    Raises StateUnavailable for files of different formats, OSError.
    """
    facts = [snapshot_facts(part) for part in parts]
    formats = {_format(part) for part in parts}
    if len(formats) > 1:
        versions = ", ".join(sorted({one.redis_version for one in facts}))
        raise StateUnavailable(f"expected primaries of one version, found {versions}: try again when all are upgraded")
    with path.open("xb") as joined:
        for number, part in enumerate(parts):
            _append(part, 0 if number == 0 else databases_at(part), joined)
            part.unlink()
        joined.write(_END_UNCHECKED)
    sync_file(path)
    return SnapshotFacts(
        facts[0].redis_version,
        0,
        _sum([one.keys for one in facts]),
        _sum([one.expiring for one in facts]),
    )


def _format(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_FORMAT_BYTES)


def _append(part: Path, start: int, joined: IO[bytes]) -> None:
    left = part.stat().st_size - _TAIL_BYTES - start
    with part.open("rb") as file:
        file.seek(start)
        while left > 0:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                raise StateUnavailable(f"{part}: the snapshot became shorter while it was read")
            joined.write(chunk)
            left -= len(chunk)


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
