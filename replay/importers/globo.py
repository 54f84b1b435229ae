"""Globo.com's news portal clicks (de Souza Pereira Moreira et al., CHAMELEON, 2018), as their publisher ships them.

`clicks.zip` or its extracted folder holds `clicks/clicks_hour_NNN.csv`: the sessions that began in hour NNN, each
click a line. Sessions run on for hours and days, so the files overlap in time. Codes (device, os, country, region,
referrer) are kept as the publisher's numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from contracts.errors import ImportFormatError
from eventlog.packed import holds_zip, opened_zip
from replay.importers.layout import Broken, Hours, OnBroken, Progress
from replay.importers.sources import Source

COLUMNS = (
    "user_id",
    "session_id",
    "session_start",
    "session_size",
    "click_article_id",
    "click_timestamp",
    "click_environment",
    "click_deviceGroup",
    "click_os",
    "click_country",
    "click_region",
    "click_referrer_type",
)
FIRST_MIDNIGHT_MS = 1_506_826_800_000
"""Where hour 0 begins: 2017-10-01 at midnight in Brasilia, which is when the recording starts."""

HOUR_MS = 3_600_000
_HOUR_FILE = re.compile(r"(?:^|/)clicks_hour_(\d+)\.csv$")


class Globo:
    """`globo`: the publisher's `clicks.zip`, or the folder that it unpacks to."""

    name = "globo"
    layout = "Globo.com news clicks: clicks.zip, or its folder of clicks/clicks_hour_NNN.csv"
    picks_hours = True
    idle_gap_ms = None

    def events(
        self, source: Path, hours: Hours, on_broken: OnBroken, progress: Progress
    ) -> Iterator[tuple[int, bytes]]:
        """Yield one view a click. `event_id` is `globo-<mark of its file>-<line>`."""
        from_ms = FIRST_MIDNIGHT_MS + hours.start * HOUR_MS if hours.start else 0
        to_ms = FIRST_MIDNIGHT_MS + hours.end * HOUR_MS if hours.end is not None else 10**14
        files = _hour_files(source)
        # A click may stand in the file of any hour before its own, in none of a later one.
        wanted = [number for number in sorted(files) if hours.end is None or number <= hours.end]
        for done, number in enumerate(wanted):
            progress("read", done, len(wanted))
            file = files[number]
            with file.open_text() as text:
                for ts_ms, line in _views(text, str(file), f"globo-{file.mark()}", on_broken):
                    if from_ms <= ts_ms < to_ms:
                        yield ts_ms, line
        progress("read", len(wanted), len(wanted))


def _views(file: TextIO, shown: str, prefix: str, on_broken: OnBroken) -> Iterator[tuple[int, bytes]]:
    """Yield (epoch ms, event JSON) of one hour's file. All fields are whole numbers, so they need no escaping."""
    rows = csv.reader(file, quoting=csv.QUOTE_NONE)
    try:
        _check_columns(next(rows, []), shown)
    except csv.Error as error:
        raise ImportFormatError(f"{shown}:1: expected the columns of a clicks_hour file, got none ({error})") from error
    width = len(COLUMNS)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            on_broken(Broken(shown, rows.line_num, COLUMNS[0], str(error)))
            continue
        if row is None:
            return
        joined = "".join(row)
        if len(row) != width or "" in row or not joined.isdecimal() or not joined.isascii() or len(row[5]) != 13:
            if row:
                on_broken(_broken(row, shown, rows.line_num))
            continue
        user, session, _, _, article, ts_ms, environment, device, system, country, region, referrer = row
        yield (
            int(ts_ms),
            f'{{"v":1,"event_id":"{prefix}-{rows.line_num}","type":"view","session_id":"{session}",'
            f'"user_id":"{user}","item_id":"{article}","ts":{ts_ms},"context":{{"device":"{device}","os":"{system}",'
            f'"country":"{country}","region":"{region}","referrer":"{referrer}",'
            f'"environment":"{environment}"}}}}'.encode(),
        )


def _broken(row: list[str], shown: str, line: int) -> Broken:
    for column, field in zip(COLUMNS, row, strict=False):
        if not (field.isascii() and field.isdecimal()):
            return Broken(shown, line, column, f"expected a whole number, got {field!r:.60}")
    if len(row) != len(COLUMNS):
        column = COLUMNS[min(len(row), len(COLUMNS) - 1)]
        return Broken(shown, line, column, f"expected {len(COLUMNS)} columns, got {len(row)}")
    return Broken(shown, line, "click_timestamp", f"expected epoch milliseconds (13 digits), got {row[5]!r:.60}")


def _check_columns(header: list[str], shown: str) -> None:
    for number, column in enumerate(COLUMNS):
        got = header[number] if number < len(header) else None
        if got != column:
            raise ImportFormatError(
                f"{shown}:1: column {number + 1}: expected {column!r}, got {got!r}: "
                "is this the publisher's clicks_hour file?"
            )


def _hour_files(source: Path) -> dict[int, Source]:
    """Return the hour files by hour: of the zip, or of the folder."""
    found: dict[str, Source]
    if source.is_dir():
        found = {path.as_posix(): Source(path) for path in source.rglob("clicks_hour_*.csv")}
    elif not source.exists():
        raise ImportFormatError(f"{source}: no such file or folder")
    elif holds_zip(source):
        with opened_zip(source) as archive:
            found = {name: Source(source, name) for name in archive.namelist()}
    else:
        raise ImportFormatError(f"{source}: expected the publisher's clicks.zip or its extracted folder, got a file")
    files = {int(match[1]): file for name, file in found.items() if (match := _HOUR_FILE.search(name))}
    if not files:
        raise ImportFormatError(f"{source}: expected clicks_hour_NNN.csv files in it, found none")
    return files
