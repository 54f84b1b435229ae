"""Recorded logs: the `.jsonl.zst` form of an event log, and of an item list. No other module reads or writes it.

A recorded log is JSON, one value a line. The first line is the header with the true counts; then one event a line in
time order (events of one moment keep the order they came in). `.jsonl` is the same without compression, and may lack
the header. The file's format is described in docs/event-log-format.md.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import orjson
import xxhash
import zstandard
from numpy.typing import NDArray
from pydantic import ValidationError

from contracts.errors import ImportFormatError
from contracts.events import SCHEMA_VERSION, Event, Rejection, shown
from contracts.items import Item, item_document
from contracts.outputs import lines_kind, written_aside
from contracts.plain_events import decode_event
from eventlog.packed import damaged, opened

FORMAT = "nextclick-events"
EVENTS = lines_kind("an event log with its header line", lambda first: first.get("format") == FORMAT)
ITEMS = lines_kind(
    "an items file",
    lambda first: isinstance(first.get("item_id"), str) and "title" in first and "event_id" not in first,
    may_be_empty=True,
)
ARRIVALS = lines_kind(
    "events in the order in which they arrive, without a header", lambda first: "event_id" in first and "type" in first
)
PROGRESS_EVERY = 10_000
_BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 20
_LEVEL = 3
_ANY_TIME_MS = 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class Header:
    """What a recorded log says of itself. Times are epoch milliseconds, None for a log without events."""

    events: int
    sessions: int
    items: int
    first_ms: int | None
    last_ms: int | None
    sorted: bool = True
    anonymised: bool = False


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that could not be taken. Lines count from 1; `reason` is a stable word."""

    path: Path
    line: int
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}: {self.detail}"


OnError = Callable[[BrokenLine], None]
OnItem = Callable[[str, int], None]
"""Is told an item's id and its line."""
Progress = Callable[[int], None]
"""Called now and then with the number of events so far."""


def write_events(
    path: str | Path,
    events: Iterable[Event | Mapping[str, Any] | bytes],
    *,
    anonymised: bool = False,
    progress: Progress | None = None,
) -> Header:
    """Write events, which must come in time order, and return the header. `path` appears whole or not at all.

    An `Event` is known to be valid; of a mapping or of JSON bytes only what the header counts is looked at
    (session, item, time), so that recording stays fast: `read_events` validates. Memory is 8 bytes for every
    distinct session and item. Raises ImportFormatError for an event out of order or without those fields,
    OutputRefused where something else than an event log is at `path`.
    """
    target = Path(path)
    packed = _is_zstd(target)
    with written_aside(target, EVENTS) as whole, tempfile.TemporaryFile(dir=target.parent) as body:
        with _packing(body, packed) as lines:
            header = _write_body(lines, events, anonymised, progress)
        body.seek(0)
        with open(whole, "xb") as sink:
            with _packing(sink, packed) as lines:
                lines.write(_header_line(header))
            shutil.copyfileobj(body, sink, _CHUNK)
            sink.flush()
            os.fsync(sink.fileno())
    return header


def write_arrivals(path: str | Path, lines: Iterable[bytes]) -> int:
    """Write lines as they arrive, in any order of time and broken ones too, and return how many. There is no header:
    it would promise the order of time. `read_raw` and `read_events` read such a file, playing it does not.

    Raises OutputRefused where something else than such a file is at `path`.
    """
    target = Path(path)
    count = 0
    with written_aside(target, ARRIVALS) as whole, open(whole, "xb") as sink, _packing(sink, _is_zstd(target)) as body:
        for line in lines:
            body.write(line + b"\n")
            count += 1
    return count


def read_header(path: str | Path) -> Header:
    """Read the header. Raises ImportFormatError when there is none, or when it is of another format or version."""
    first = next(_lines(Path(path)), b"")
    header = _as_header(Path(path), first)
    if header is None:
        raise ImportFormatError(
            f'{path}:1: expected a header line with "format": "{FORMAT}", got {first[:60]!r}: '
            "record or import the log again, or write it through eventlog.files.write_events"
        )
    return header


def read_raw(path: str | Path) -> Iterator[bytes]:
    """Yield each event's JSON as recorded, not validated, without the newline.

    Raises ImportFormatError for a file that is damaged, is not zstd, or ends before the header's last event.
    """
    for _, line in _events_by_line(Path(path)):
        yield line


def read_events(path: str | Path, *, on_error: OnError | None = None) -> Iterator[Event]:
    """Yield each event, validated. A broken line is handed to `on_error` and skipped; without one it raises
    ImportFormatError with file and line. Timestamps may be of any time.
    """
    validate = Event.__pydantic_validator__.validate_python
    for number, line in _events_by_line(Path(path)):
        try:
            event = validate(orjson.loads(line))
        except ValueError:  # of orjson, or of pydantic
            event = None
        if event is not None and event.v == SCHEMA_VERSION:
            yield event
            continue
        outcome = decode_event(line, now_ms=_ANY_TIME_MS)
        if isinstance(outcome, Rejection):
            _broken(BrokenLine(Path(path), number, outcome.reason, outcome.detail), on_error)


def read_items(
    path: str | Path, *, on_error: OnError | None = None, on_item: OnItem | None = None
) -> Iterator[tuple[str, Item]]:
    """Yield (item id, item) from an items file: one `{"item_id": ..., "title": ..., ...}` a line, the fields of Item.

    `.jsonl` or `.jsonl.zst`. Errors as in `read_events`. `on_item` is told each item's id and line.
    """
    for number, line in enumerate(_lines(Path(path)), start=1):
        if not line.strip():
            continue
        try:
            fields = orjson.loads(line)
            if not isinstance(fields, dict):
                raise ValueError(f"expected a JSON object, got {type(fields).__name__}")
            item_id = fields.pop("item_id", None)
            if not isinstance(item_id, str) or not 1 <= len(item_id) <= 256:
                raise ValueError(f"item_id: expected a string of 1 to 256 characters, got {shown(item_id, 60)}")
            item = Item.model_validate(fields)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            detail = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            _broken(BrokenLine(Path(path), number, "invalid", detail), on_error)
        except ValueError as error:
            reason = "not_json" if isinstance(error, orjson.JSONDecodeError) else "invalid"
            _broken(BrokenLine(Path(path), number, reason, str(error)), on_error)
        else:
            if on_item is not None:
                on_item(item_id, number)
            yield item_id, item


def write_items(path: str | Path, items: Iterable[tuple[str, Item]]) -> int:
    """Write an items file and return how many it holds. `path` appears whole or not at all.

    Raises OutputRefused where something else than an items file is at `path`.
    """
    target = Path(path)
    count = 0
    with (
        written_aside(target, ITEMS) as whole,
        open(whole, "xb") as sink,
        _packing(sink, _is_zstd(target)) as lines,
    ):
        for item_id, item in items:
            lines.write(orjson.dumps(item_document(item_id, item), option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


class _Distinct:
    """Counts distinct names by their 64-bit hashes: 8 bytes a name, and a bounded buffer."""

    def __init__(self, buffered: int = 1 << 18) -> None:
        self._known: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._fresh: list[int] = []
        self._buffered = buffered

    def add(self, name: str) -> None:
        self._fresh.append(xxhash.xxh3_64_intdigest(name.encode()))
        if len(self._fresh) >= self._buffered:
            self.count()

    def count(self) -> int:
        self._known = np.union1d(self._known, np.array(self._fresh, np.uint64))
        self._fresh.clear()
        return int(self._known.size)


def _write_body(
    sink: IO[bytes],
    events: Iterable[Event | Mapping[str, Any] | bytes],
    anonymised: bool,
    progress: Progress | None,
) -> Header:
    sessions, items = _Distinct(), _Distinct()
    count, first_ms, last_ms = 0, None, -1
    for count, event in enumerate(events, start=1):
        line, fields = _as_line(event)
        try:
            ts_ms, session, shown = counted_fields(fields)
        except ValueError as error:
            raise ImportFormatError(f"event {count}: {error}") from error
        if ts_ms < last_ms:
            raise ImportFormatError(
                f"event {count}: expected events in time order, got ts {ts_ms} after {last_ms}: sort them first"
            )
        last_ms = ts_ms
        if first_ms is None:
            first_ms = ts_ms
        sessions.add(session)
        for item in shown:
            items.add(item)
        sink.write(line + b"\n")
        if progress is not None and count % PROGRESS_EVERY == 0:
            progress(count)
    if progress is not None:
        progress(count)
    return Header(count, sessions.count(), items.count(), first_ms, last_ms if count else None, anonymised=anonymised)


def counted_fields(fields: Any) -> tuple[int, str, Sequence[str]]:
    """Return what a header counts of an event: its time, its session, its items. Raises ValueError without them."""
    try:
        ts_ms, session = fields["ts"], fields["session_id"]
        shown = fields["items"] if fields.get("item_id") is None else (fields["item_id"],)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected ts, session_id and item_id (or items), lacks {error}") from error
    if type(ts_ms) is not int or not isinstance(session, str) or not isinstance(shown, list | tuple):
        raise ValueError("expected a whole number as ts, a text as session_id, and a list as items")
    if not all(isinstance(item, str) for item in shown):
        raise ValueError("expected texts as ids of items")
    return ts_ms, session, shown


def _as_line(event: Event | Mapping[str, Any] | bytes) -> tuple[bytes, Mapping[str, Any]]:
    if isinstance(event, bytes):
        try:
            fields = orjson.loads(event)
        except orjson.JSONDecodeError as error:
            raise ImportFormatError(f"expected an event in JSON, got {event[:60]!r} ({error})") from error
        return event if b"\n" not in event else orjson.dumps(fields), fields
    if isinstance(event, Event):
        ours = {name: value for name, value in event.__dict__.items() if value is not None}
        fields = {**ours, **event.model_extra, **ours} if event.model_extra else ours
        return orjson.dumps(fields), fields
    return orjson.dumps(event), event


def _header_line(header: Header) -> bytes:
    fields = {"format": FORMAT, "v": SCHEMA_VERSION, **asdict(header)}
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _as_header(path: Path, line: bytes) -> Header | None:
    """Return the header in this line, None when the line is something else."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict) or fields.get("format") != FORMAT or "event_id" in fields:
        return None  # an event may have a field named format
    if fields.get("v") != SCHEMA_VERSION:
        raise ImportFormatError(
            f"{path}:1: expected {FORMAT} of v={SCHEMA_VERSION}, got v={shown(fields.get('v'), 40)}"
        )
    try:
        return msgspec.convert({name: fields[name] for name in Header.__dataclass_fields__}, Header)
    except KeyError as error:
        raise ImportFormatError(f"{path}:1: the header lacks {error}: record or import the log again") from error
    except msgspec.ValidationError as error:
        raise ImportFormatError(f"{path}:1: the header is none ({error}): record or import the log again") from error


def _events_by_line(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, event JSON), skipping header and empty lines, and hold the file to its header's count."""
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        return
    header = _as_header(path, first)
    rest: Iterable[tuple[int, bytes]] = enumerate(lines, start=2)
    if header is None:
        rest = chain([(1, first)], rest)
    count = 0
    try:
        for number, line in rest:
            if line:
                count += 1
                yield number, line
    except ImportFormatError as error:
        if header is None:
            raise
        raise ImportFormatError(f"{error}; the header counts {header.events} events, {count} could be read") from error
    if header is not None and count != header.events:
        raise damaged(path, f"the header counts {header.events} events, the file holds {count}")


def _lines(path: Path) -> Iterator[bytes]:
    """Yield a file's lines, without a byte order mark before the first."""
    rest = b""
    with opened(path) as file:
        chunk = file.read1(_CHUNK).removeprefix(_BOM)  # no more than is there: damage comes after the header
        while chunk:
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            yield from lines
            chunk = file.read1(_CHUNK)
    if rest:
        yield rest


def _packing(sink: IO[bytes], packed: bool) -> IO[bytes]:
    if packed:
        return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).stream_writer(sink, closefd=False)
    return _Unclosed(sink)


class _Unclosed(io.BufferedWriter):
    """A plain buffer whose end flushes and leaves the file below it open."""

    def __init__(self, sink: IO[bytes]) -> None:
        super().__init__(sink)

    def close(self) -> None:
        self.flush()
        self.detach()


def _is_zstd(path: Path) -> bool:
    return path.suffix == ".zst"


def _broken(line: BrokenLine, on_error: OnError | None) -> None:
    if on_error is None:
        raise ImportFormatError(str(line))
    on_error(line)
