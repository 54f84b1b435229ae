"""Hours of the ledger: their rows from the shelf, their files, and the manifest that says what they stand on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from attribution.cells import HOUR_MS
from attribution.credit import CreditRules
from attribution.shown_rows import ShownRow, earned, rows_of
from contracts.errors import OutputRefused, SettingsError
from replay.ledger.shelf import Shelf

MANIFEST: Final = "_manifest.json"
FORMAT: Final = "nextclick ledger 1"
_ROWS: Final = 20_000
"""Of a row group: what memory holds of an hour."""


class Hour(msgspec.Struct, frozen=True):
    """An hour that was written. `offsets`: the next ones of each partition (`topic:partition`) when it was. A `closed`
    one is never written again.
    """

    rows: int
    pages: int
    sha256: str
    closed: bool
    offsets: dict[str, int]


class Manifest(msgspec.Struct):
    """What is in a folder, and by which rules: windows in milliseconds, `settle_ms` of outcomes after an hour."""

    format: str
    click_ms: int
    purchase_ms: int
    touch: str
    settle_ms: int
    hours: dict[str, Hour]
    left_out: dict[str, int] = {}


def name_of(hour: int) -> str:
    """Return how an hour (whole hours since 1970) is named: 2026-11-29T13."""
    return datetime.fromtimestamp(hour * HOUR_MS / 1000, UTC).strftime("%Y-%m-%dT%H")


def read_manifest(folder: Path, rules: CreditRules, settle_ms: int) -> Manifest:
    """Return a folder's manifest; a new one where the folder is empty or not there.

    Raises OutputRefused for a folder of something else, and for a ledger of other rules.
    """
    fresh = Manifest(FORMAT, rules.click_ms, rules.purchase_ms, rules.touch, settle_ms, {})
    file = folder / MANIFEST
    if not file.exists():
        others = sorted(one.name for one in folder.iterdir() if not one.name.startswith("_")) if folder.exists() else []
        if others:
            raise OutputRefused(f"{folder}: expected an empty folder or a ledger, found {', '.join(others[:4])}")
        return fresh
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except (msgspec.DecodeError, OSError) as error:
        raise OutputRefused(f"{file}: expected the manifest of a ledger: {error}") from error
    same = ("format", "click_ms", "purchase_ms", "touch", "settle_ms")
    for name in same:
        if getattr(found, name) != getattr(fresh, name):
            raise OutputRefused(
                f"{folder}: expected a ledger with {name} {getattr(fresh, name)!r}, got {getattr(found, name)!r}: "
                "name another folder, or set it so"
            )
    return found


def write_manifest(folder: Path, manifest: Manifest) -> None:
    manifest.hours = dict(sorted(manifest.hours.items()))
    _put(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def rows_of_hour(shelf: Shelf, hour: int, rules: CreditRules, settle_ms: int) -> Iterator[ShownRow]:
    """Yield the rows of an hour, by session, time and position: what came of it until `settle_ms` after its end."""
    begin, end = hour * HOUR_MS, (hour + 1) * HOUR_MS
    until = end + settle_ms
    for session_id in shelf.sessions(begin, end):
        logged = shelf.pages_of(session_id)
        anonymous = shelf.outcomes_of(session_id, is_user=False, before_ms=until)
        earnings = [earned({one.page.page_id: one.page for one in logged}, anonymous, rules)]
        for user in shelf.users_of(session_id, before_ms=until):
            did = shelf.outcomes_of(user, is_user=True, before_ms=until)
            earnings.append(earned(shelf.pages_of_user(user, before_ms=until), did, rules) if did else {})
        for one in logged:
            if begin <= one.page.ts < end:
                yield from rows_of(one, earnings)


def write_hour(folder: Path, hour: int, rows: Iterator[ShownRow], *, closed: bool, offsets: Mapping[str, int]) -> Hour:
    """Write an hour's file aside, then in its place. The same rows are the same bytes."""
    place = folder / f"hour={name_of(hour)}"
    place.mkdir(parents=True, exist_ok=True)
    aside = folder / "_aside.parquet"
    count, pages = _write_rows(aside, rows)
    digest = hashlib.sha256()
    with aside.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
        os.fsync(file.fileno())
    os.replace(aside, place / "part-0.parquet")
    return Hour(count, pages, digest.hexdigest(), closed, dict(sorted(offsets.items())))


def _write_rows(file: Path, rows: Iterator[ShownRow]) -> tuple[int, int]:
    """Return how many rows were written, and of how many pages."""
    import pyarrow
    from pyarrow import parquet

    schema, count, pages = _schema(), 0, 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while part := list(islice(rows, _ROWS)):
            columns = zip(*part, strict=True)
            arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            count += len(part)
            pages += sum(row.position == 1 for row in part)
    return count, pages


def _schema() -> Any:
    import pyarrow

    kinds = {
        "position": pyarrow.int32(),
        "ts": pyarrow.timestamp("ms", "UTC"),
        **dict.fromkeys(("recommended", "returning"), pyarrow.bool_()),
        **dict.fromkeys(("propensity", "margin", "clicked", "carted", "purchased", "value"), pyarrow.float64()),
        **dict.fromkeys(("log_partition", "log_offset"), pyarrow.int64()),
    }
    return pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in ShownRow._fields])


def expect_parquet() -> None:
    """Raise SettingsError where Parquet cannot be written."""
    if find_spec("pyarrow") is None:
        raise SettingsError("writing the ledger needs pyarrow: install the `parquet` extra")


def _put(file: Path, content: bytes) -> None:
    aside = file.with_name(f"{file.name}.aside")
    with aside.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(aside, file)
