"""What models are trained on again and again: the newest events and the catalogue, as files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from heapq import merge
from pathlib import Path

import orjson

from contracts.codec import decode_row
from contracts.errors import ImportFormatError, SettingsError
from contracts.items import Item
from contracts.retrain_settings import RetrainOptions
from contracts.settings import ServiceSettings
from eventlog.files import Header, counted_fields, read_header, read_raw, write_events, write_items
from replay.engine.record import RecordOptions, record_log
from state.shards import CatalogueReader, catalogue_reader


def write_newest(settings: ServiceSettings, options: RetrainOptions, now_ms: int, out: Path) -> Header:
    """Write the events of the window up to now, in time order: of the recordings, or of the log where there are none.

    Raises SettingsError for a folder without recordings, LogUnavailable, OSError.
    """
    since_ms = now_ms - int(1000 * options.window.total_seconds())
    if options.recordings:
        folder = Path(options.recordings)
        found = sorted(folder.glob("*.jsonl.zst")) if folder.is_dir() else []
        if not found:
            raise SettingsError(
                f"retrain.recordings: expected recordings (.jsonl.zst) in {folder}, found none: set record.to to it"
            )
    else:
        whole = out.with_name(f"log-{out.name}")
        record_log(RecordOptions(out=whole), settings)
        found = [whole]
    return write_events(out, _lines(found, since_ms))


def write_catalogue(settings: ServiceSettings, out: Path) -> int:
    """Write the catalogue's items as they are now; returns how many. Raises StateUnavailable."""
    with closing(catalogue_reader(settings.redis)) as reader:
        return write_items(out, _items(reader))


def _items(reader: CatalogueReader) -> Iterator[tuple[str, Item]]:
    for rows in reader.rows():
        for _, raw in rows:
            try:
                row = decode_row(raw)
            except ValueError:  # one that no process takes
                continue
            yield row.item_id, row.item.model_copy(update={"stock": row.stock})


def _lines(recordings: Iterable[Path], since_ms: int) -> Iterator[bytes]:
    """Yield the events of recordings by time, each of which is in time order, from a moment on."""
    readable = [path for path in recordings if _reaches(path, since_ms)]
    return (line for _, line in merge(*(_stamped(path, since_ms) for path in readable), key=lambda one: one[0]))


def _reaches(path: Path, since_ms: int) -> bool:
    try:
        last_ms = read_header(path).last_ms
    except (ImportFormatError, OSError):  # one that is damaged, or was let go meanwhile
        return False
    return last_ms is not None and last_ms >= since_ms


def _stamped(path: Path, since_ms: int) -> Iterator[tuple[int, bytes]]:
    for raw in read_raw(path):
        ts_ms = counted_fields(orjson.loads(raw))[0]
        if ts_ms >= since_ms:
            yield ts_ms, raw
