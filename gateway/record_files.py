"""From a part that the gateway has written to a recording: sorted, counted, packed. Runs in a process of its own.

Imports little, so that it starts quickly.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import orjson

from contracts.errors import OutputRefused
from eventlog.files import EVENTS, counted_fields, write_events

PART = ".part.jsonl"
FINISHED = ".jsonl.zst"
PREFIX = "recorded-"
_NAME = r"recorded-\d{8}T\d{6}-\d+-\d+"
_PART_NAME, _FINISHED_NAME = re.compile(rf"\.{_NAME}\.part\.jsonl"), re.compile(rf"{_NAME}\.jsonl\.zst")


def finish(part: Path) -> Path | None:
    """Turn a part into a recording and return its path; None for an empty part, or one that somebody works on.

    A line that was cut short, by a crash or a full disk, is left out. Memory holds the part. Raises OSError, with the
    part as it was, when the recording cannot be written.
    """
    with open(part, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
        lines = file.read().split(b"\n")[:-1]  # what follows the last newline is a line cut short
        out = part.with_name(part.name.removeprefix(".").removesuffix(PART) + FINISHED)
        stamped = sorted(((ts, line) for line in lines if (ts := _time_of(line)) is not None), key=lambda one: one[0])
        if stamped:
            write_events(out, (line for _, line in stamped))
        part.unlink()
    return out if stamped else None


def _time_of(line: bytes) -> int | None:
    """Return the time of an event; None for a line that is none."""
    try:
        return counted_fields(orjson.loads(line))[0]
    except ValueError:
        return None


def keep_newest(folder: Path, files: int) -> None:
    """Remove the oldest recordings of a folder until `files` are left; their names begin with their time. Only what a
    gateway wrote counts: a file with a name of that very form and an event log's header.
    """
    found = sorted(path for path in folder.glob(f"{PREFIX}*{FINISHED}") if _is_recording(path))
    for old in found[: max(0, len(found) - files)]:
        with suppress(FileNotFoundError):  # another process was first
            old.unlink()


def drop_older(folder: Path, before_s: float) -> int:
    """Remove the recordings of a folder that were finished before a moment (epoch seconds); returns how many."""
    gone = 0
    for path in sorted(folder.glob(f"{PREFIX}*{FINISHED}")):
        with suppress(FileNotFoundError):  # another process was first
            if _is_recording(path) and path.stat().st_mtime < before_s:
                path.unlink()
                gone += 1
    return gone


def parts_in(folder: Path) -> list[Path]:
    """Return the parts that gateways have begun in a folder, oldest first."""
    return sorted(path for path in folder.glob(f".{PREFIX}*{PART}") if is_part(path))


def is_part(path: Path) -> bool:
    return _PART_NAME.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


def _is_recording(path: Path) -> bool:
    if not _FINISHED_NAME.fullmatch(path.name) or path.is_symlink() or not path.is_file():
        return False
    return EVENTS.is_one(path)


def is_written(part: Path) -> bool:
    """Tell whether a live process holds this part."""
    with open(part, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def main() -> None:
    """`python -m gateway.record_files PART FILES`: finish one part at low priority, and keep so many recordings."""
    os.nice(10)
    part, files = Path(sys.argv[1]), int(sys.argv[2])
    if part.exists() and not is_part(part):
        sys.exit(f"{part}: expected a part that a gateway wrote, found something else: it was left as it is")
    try:
        with suppress(FileNotFoundError):  # another process finished it first
            finish(part)
        keep_newest(part.parent, files)
    except OutputRefused as error:
        sys.exit(f"{part} stays a part: {error}")
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
