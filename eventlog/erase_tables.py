"""`python -m eventlog.erase_tables PATH...`: take a visitor out of tables that name them: JSONL, CSV and Parquet files
with a column `user_id` or `session_id`; those of a folder, and of those below it, where a path is one.

The names come on the input as JSON (`user`, `sessions`). It prints how many rows went. Rows of others stay as they are,
byte for byte in JSONL and CSV; each file takes the old one's place in one step.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from contracts.errors import NextclickError

IsTheirs = Callable[[Any, Any], bool]
_NAMED: Final = ("user_id", "session_id")


class Asked(msgspec.Struct):
    """Who is taken out."""

    user: str | None = None
    sessions: list[str] = []
    at_ms: int = 0


def erase(place: Path, asked: Asked) -> int:
    """Take a visitor's rows out of a table, or out of a folder's; returns how many. Raises OSError."""
    sessions = frozenset(asked.sessions)

    def is_theirs(user: Any, session: Any) -> bool:
        if asked.user is not None and user == asked.user:
            return True
        return session in sessions and (not user or asked.user is None)

    kinds: dict[str, Callable[[Path, IsTheirs], int]] = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    found = sorted(place.rglob("*")) if place.is_dir() else [place]
    files = (path for path in found if path.suffix in kinds and path.is_file())
    return sum(kinds[path.suffix](path, is_theirs) for path in files if not path.is_symlink() and path.name[0] != ".")


def _jsonl(path: Path, is_theirs: IsTheirs) -> int:
    kept, gone = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            row = orjson.loads(line)
            theirs = isinstance(row, dict) and is_theirs(row.get("user_id"), row.get("session_id"))
        except ValueError:
            theirs = False
        gone += theirs
        if not theirs:
            kept.append(line)
    return _put(path, kept, gone)


def _csv(path: Path, is_theirs: IsTheirs) -> int:
    rows = _csv_rows(path.read_bytes().decode("utf-8-sig"))
    head = next(rows, None)
    if head is None or not {*_NAMED} & {*head[0]}:
        return 0
    places = [head[0].index(name) if name in head[0] else len(head[0]) for name in _NAMED]
    kept, gone = [head[1]], 0
    for fields, raw in rows:
        user, session = (fields[at] if at < len(fields) else None for at in places)
        theirs = is_theirs(user, session)
        gone += theirs
        if not theirs:
            kept.append(raw)
    return _put(path, (one.encode() for one in kept), gone)


def _csv_rows(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield the fields of each row, and the row as it stands."""
    lines = io.StringIO(text, newline="").readlines()
    reader, at = csv.reader(lines), 0
    for fields in reader:
        yield fields, "".join(lines[at : reader.line_num])
        at = reader.line_num


def _parquet(path: Path, is_theirs: IsTheirs) -> int:
    import pyarrow
    from pyarrow import parquet

    table = parquet.read_table(path)
    columns = [table.column(name).to_pylist() if name in table.column_names else [None] * len(table) for name in _NAMED]
    kept = [not is_theirs(user, session) for user, session in zip(*columns, strict=True)]
    if all(kept):
        return 0
    sink = io.BytesIO()
    parquet.write_table(table.filter(pyarrow.array(kept, pyarrow.bool_())), sink)
    return _put(path, [sink.getvalue()], kept.count(False))


def _put(path: Path, parts: Iterable[bytes], gone: int) -> int:
    if gone:
        aside = path.with_name(f".{path.name}.aside")
        with aside.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(path.stat().st_mode & 0o777)
        os.replace(aside, path)
    return gone


def main() -> None:
    place = ""
    try:
        asked, gone = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked), 0
        for place in sys.argv[1:]:
            gone += erase(Path(place), asked)
        sys.stdout.write(f"{gone}\n")
    except (NextclickError, OSError, ValueError) as error:
        sys.exit(f"{place}: {error}")


if __name__ == "__main__":
    main()
