"""Sorting more events than memory holds: sorted runs on disk, merged. Stable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from pathlib import Path

import zstandard

RUN_EVENTS = 250_000
_STAMP = 15  # digits of a time, so that bytes sort as times do
_CHUNK = 1 << 18


def sort_by_time(events: Iterable[tuple[int, bytes]], folder: Path, *, run_events: int = RUN_EVENTS) -> Iterator[bytes]:
    """Yield the events' bytes by time (epoch ms); those of one moment in the order given. Bytes hold no newline.

    Memory holds one run of `run_events`; the others lie in `folder` until the iterator ends.
    """
    stamped = (b"%015d%b" % event for event in events)
    spilled: list[Path] = []
    run = _sorted_run(stamped, run_events)
    while len(run) == run_events:
        spilled.append(_spill(run, folder / f"run-{len(spilled):05d}.zst"))
        run = _sorted_run(stamped, run_events)
    for line in merge(*(_read(path) for path in spilled), run, key=_stamp):
        yield line[_STAMP:]
    for path in spilled:
        path.unlink()


def _stamp(line: bytes) -> bytes:
    return line[:_STAMP]


def _sorted_run(stamped: Iterator[bytes], run_events: int) -> list[bytes]:
    run = list(islice(stamped, run_events))
    run.sort(key=_stamp)
    return run


def _spill(run: list[bytes], path: Path) -> Path:
    with open(path, "wb") as file, zstandard.ZstdCompressor(level=1).stream_writer(file, closefd=False) as sink:
        for start in range(0, len(run), 1000):
            sink.write(b"\n".join(run[start : start + 1000]) + b"\n")
    return path


def _read(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        source = zstandard.ZstdDecompressor().stream_reader(file)
        rest = b""
        while chunk := source.read(_CHUNK):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            yield from lines
