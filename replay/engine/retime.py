"""A recording as it will look when it is played faster: its times drawn together, so that what is learnt fits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from contracts.errors import ImportFormatError
from eventlog.files import read_header, read_raw, write_events


def retimed(recording: Path, speed: float, *, end_ms: int) -> Iterator[dict[str, Any]]:
    """Yield the recording's events `speed` times as dense, the last one at `end_ms` (epoch milliseconds)."""
    last_ms = _last_ms(recording)
    for raw in read_raw(recording):
        fields = orjson.loads(raw)
        yield {**fields, "ts": int(end_ms - (last_ms - fields["ts"]) / speed)}


def write_retimed(recordings: list[Path], speed: float, folder: Path) -> list[Path]:
    """Write recordings (oldest first) `speed` times as dense into `folder`, the gaps between them in proportion."""
    end_ms = _last_ms(recordings[-1])
    written = []
    for number, recording in enumerate(recordings):
        gap_ms = end_ms - _last_ms(recording)
        out = folder / f"retimed-{number}.jsonl.zst"
        write_events(out, retimed(recording, speed, end_ms=int(end_ms - gap_ms / speed)))
        written.append(out)
    return written


def write_first_part(recording: Path, share: float, out: Path) -> None:
    """Write the first `share` of a recording's events to `out`."""
    wanted = int(share * read_header(recording).events)
    write_events(out, islice(read_raw(recording), wanted))


def _last_ms(recording: Path) -> int:
    last_ms = read_header(recording).last_ms
    if last_ms is None:
        raise ImportFormatError(f"{recording}: expected events, found none")
    return last_ms
