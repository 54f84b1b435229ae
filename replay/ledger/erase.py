"""`python -m replay.ledger.erase FOLDER`: take a visitor out of a ledger: its hours, its manifest, its shelves.

The names come on the input as JSON (`user`, `sessions`): arguments are for all to see. It prints how many rows went.
Which hours are written again is noted before: whoever is killed in between puts the manifest right when asked again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import sys
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts.errors import NextclickError, OutputRefused
from replay.ledger.export import RECORDED, SHELF
from replay.ledger.hours import FORMAT, MANIFEST, Hour, Manifest, expect_parquet, write_manifest

UNDER_WAY: Final = "_erasing.json"
_PART: Final = "part-0.parquet"
_MANY: Final = 500


class Asked(msgspec.Struct):
    """Who is taken out."""

    user: str | None = None
    sessions: list[str] = []
    at_ms: int = 0


def erase(folder: Path, asked: Asked) -> int:
    """Take a visitor's rows out of a ledger; returns how many. Raises OutputRefused for what is no ledger, OSError."""
    file = folder / MANIFEST
    if not file.exists():
        return 0
    expect_parquet()
    try:
        manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise OutputRefused(f"{file}: expected the manifest of a ledger: {error}") from error
    if manifest.format != FORMAT:
        raise OutputRefused(f"{folder}: expected {FORMAT}, got {manifest.format!r}")
    gone = sum(_off_shelf(folder / name, asked) for name in (SHELF, RECORDED) if (folder / name).exists())
    hours, note = [], folder / UNDER_WAY
    for name in manifest.hours:
        if _holds(folder / f"hour={name}" / _PART, asked):
            hours.append(name)
    if note.exists():
        hours = sorted({*hours, *msgspec.json.decode(note.read_bytes(), type=list[str])})
    if hours:
        note.write_bytes(msgspec.json.encode(hours))
        for name in hours:
            gone += _rewrite(folder, name, asked)
            manifest.hours[name] = _as_it_is(folder / f"hour={name}" / _PART, manifest.hours[name])
        write_manifest(folder, manifest)
        note.unlink()
    return gone


def _holds(file: Path, asked: Asked) -> bool:
    from pyarrow import parquet

    if not file.exists():
        return False
    with parquet.ParquetFile(file) as opened:
        return any(
            bool(_theirs(opened.read_row_group(at, columns=["session_id", "user_id"]), asked).any())
            for at in range(opened.num_row_groups)
        )


def _rewrite(folder: Path, name: str, asked: Asked) -> int:
    import numpy as np
    import pyarrow
    from pyarrow import parquet

    file, aside, gone = folder / f"hour={name}" / _PART, folder / "_aside.parquet", 0
    with (
        parquet.ParquetFile(file) as opened,
        parquet.ParquetWriter(aside, opened.schema_arrow, compression="zstd") as writer,
    ):
        for at in range(opened.num_row_groups):
            table = opened.read_row_group(at)
            theirs = _theirs(table, asked)
            gone += int(theirs.sum())
            kept = table.filter(pyarrow.array(np.logical_not(theirs)))
            if kept.num_rows:
                writer.write_table(kept)
    with aside.open("rb+") as written:
        os.fsync(written.fileno())
    os.replace(aside, file)
    return gone


def _theirs(table: Any, asked: Asked) -> Any:
    """Return which rows (n,) are the visitor's: those that name them, and of their sessions those that name nobody."""
    import numpy as np

    sessions = np.array(table.column("session_id").to_pylist(), object)
    users = np.array(table.column("user_id").to_pylist(), object)
    of_sessions = np.isin(sessions.astype(str), np.array(asked.sessions or [""], str)) & bool(asked.sessions)
    if asked.user is None:
        return of_sessions
    nobody = np.array([user is None for user in users], bool)
    return (users == asked.user) | (of_sessions & nobody)


def _as_it_is(file: Path, before: Hour) -> Hour:
    from pyarrow import parquet

    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with parquet.ParquetFile(file) as opened:
        rows = opened.metadata.num_rows
        pages = sum(
            opened.read_row_group(at, columns=["position"]).column("position").to_pylist().count(1)
            for at in range(opened.num_row_groups)
        )
    return msgspec.structs.replace(before, rows=rows, pages=pages, sha256=digest)


def _off_shelf(file: Path, asked: Asked) -> int:
    """Take what waits of a visitor off a shelf, and out of its file."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=60)) as db:
        db.execute("PRAGMA secure_delete=ON")
        gone = 0
        for sessions in _parts(asked.sessions):
            marks = ",".join("?" * len(sessions))
            mine = "AND (? IS NULL OR user IS NULL OR user = ?)"
            told = (*sessions, asked.user, asked.user)
            gone += db.execute(f"DELETE FROM pages WHERE session IN ({marks}) {mine}", told).rowcount
            db.execute(f"DELETE FROM users WHERE session IN ({marks}) {mine}", told)
            gone += db.execute(f"DELETE FROM outcomes WHERE is_user = 0 AND who IN ({marks})", sessions).rowcount
        if asked.user is not None:
            gone += db.execute("DELETE FROM pages WHERE user = ?", (asked.user,)).rowcount
            gone += db.execute("DELETE FROM outcomes WHERE is_user = 1 AND who = ?", (asked.user,)).rowcount
            db.execute("DELETE FROM users WHERE user = ?", (asked.user,))
        if gone:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone


def _parts(names: Collection[str]) -> list[list[str]]:
    listed = sorted(names)
    return [listed[at : at + _MANY] for at in range(0, len(listed), _MANY)]


def main() -> None:
    folder = Path(sys.argv[1])
    try:
        asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
        number = os.open(folder, os.O_RDONLY)
        fcntl.flock(number, fcntl.LOCK_EX)  # of two erasures one after the other
        sys.stdout.write(f"{erase(folder, asked)}\n")
    except (NextclickError, OSError, sqlite3.Error, msgspec.DecodeError) as error:
        sys.exit(f"{folder}: {error}")


if __name__ == "__main__":
    main()
