"""Plain CSV with a column map: any table of clicks, one a line, with a header line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contracts.errors import ImportFormatError, SettingsError
from replay.importers.layout import IDLE_GAP_MS, Hours, OnBroken, Progress
from replay.importers.rows import (
    BadField,
    Table,
    event_json,
    event_type,
    identifier,
    iso_time,
    microseconds,
    milliseconds,
    number,
    optional,
    seconds,
    unit_of,
)
from replay.importers.sources import Source, expect

FIELDS = ("session_id", "item_id", "ts", "user_id", "event_id", "type", "value")
UNITS: dict[str, Callable[[str, str], int]] = {
    "milliseconds": milliseconds,
    "seconds": seconds,
    "microseconds": microseconds,
    "iso": iso_time,
}
DELIMITERS = "\t;|,"
FILES = ("events.csv", "clicks.csv", "events.tsv", "clicks.tsv")


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which column holds what. `context` maps a context field to its column; `unit` says how `ts` is written."""

    columns: Mapping[str, str]
    context: Mapping[str, str] = field(default_factory=dict)
    unit: str = "milliseconds"

    @classmethod
    def parse(cls, text: str) -> ColumnMap:
        """Parse `session_id=SessionId,item_id=ItemId,ts=Time:seconds,context.device=Device`. Raises SettingsError."""
        columns, context, unit = dict[str, str](), dict[str, str](), "milliseconds"
        for part in text.split(","):
            name, equals, column = (word.strip() for word in part.partition("="))
            if not equals or not name or not column:
                raise SettingsError(f"expected a map such as item_id=ItemId,ts=Time:seconds, got {part!r} in it")
            if name == "ts" and column.rpartition(":")[2] in UNITS:
                column, _, unit = column.rpartition(":")
            if name.startswith("context.") and len(name) > len("context."):
                context[name.removeprefix("context.")] = column
            elif name in FIELDS:
                columns[name] = column
            else:
                raise SettingsError(f"expected one of {', '.join(FIELDS)}, context.NAME in the map, got {name!r}")
        for name in ("item_id", "ts"):
            if name not in columns:
                raise SettingsError(f"the map lacks {name}: add {name}=COLUMN")
        if not {"session_id", "user_id"} & set(columns):
            raise SettingsError("the map lacks session_id: add session_id=COLUMN, or user_id=COLUMN to cut sessions")
        return cls(columns, context, unit)

    @property
    def has_sessions(self) -> bool:
        return "session_id" in self.columns


@dataclass(frozen=True, slots=True)
class MappedTable:
    """`csv`: a file with a header line. Without a session column, a user's clicks are cut at the idle gap.

    `types` maps the table's words to event types; a table without a type column holds views. `delimiter` empty
    takes what the header line holds most of: tab, semicolon, bar or comma.
    """

    columns: ColumnMap
    types: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ""
    gap_ms: int = IDLE_GAP_MS
    name: str = "csv"
    layout: str = "any table with a header line, its columns named by --map"
    picks_hours: bool = False

    @property
    def idle_gap_ms(self) -> int | None:
        return None if self.columns.has_sessions else self.gap_ms

    def events(
        self, source: Path, hours: Hours, on_broken: OnBroken, progress: Progress
    ) -> Iterator[tuple[int, bytes]]:
        """Yield one event a line; without a column for it, `event_id` is `csv-<mark>-<line>`."""
        file = expect(source, FILES)
        delimiter = self.delimiter or _delimiter_of(file)
        progress("read", 0, 1)
        with file.open_text() as text:
            table = Table(text, str(file), on_broken, delimiter=delimiter, quoted=True)
            yield from self._rows(table, f"csv-{file.mark()}")
        progress("read", 1, 1)

    def _rows(self, table: Table, prefix: str) -> Iterator[tuple[int, bytes]]:
        names = self.columns.columns
        if ":" in names["ts"] and table.column_if_there(names["ts"]) is None:
            raise SettingsError(f"expected ts=COLUMN or ts=COLUMN:UNIT with {', '.join(UNITS)}, got ts={names['ts']}")
        place = {name: table.column(column) for name, column in names.items()}
        context_at = {name: table.column(column) for name, column in self.columns.context.items()}
        item_at, ts_at = place["item_id"], place["ts"]
        session_at = place.get("session_id", place.get("user_id", 0))
        for line, row in table:
            try:
                ts_ms, event = event_json(
                    identifier(names["event_id"], row[place["event_id"]])
                    if "event_id" in place
                    else f"{prefix}-{line}",
                    event_type(names["type"], row[place["type"]], self.types) if "type" in place else "view",
                    identifier(names.get("session_id") or names["user_id"], row[session_at]),
                    identifier(names["item_id"], row[item_at]),
                    self._time(names["ts"], row[ts_at]),
                    user_id=optional(row[place["user_id"]]) if "user_id" in place else None,
                    context={name: row[at] for name, at in context_at.items() if row[at]},
                    value=number(names["value"], row[place["value"]])
                    if "value" in place and row[place["value"]]
                    else None,
                )
            except BadField as bad:
                table.broken(line, bad.column, str(bad))
            else:
                yield ts_ms, event

    def _time(self, column: str, text: str) -> int:
        """Parse a time. Raises BadField: which unit to name in the map, where it is a time in another."""
        try:
            return UNITS[self.columns.unit](column, text)
        except BadField as bad:
            unit = unit_of(text) if self.columns.unit == "milliseconds" else None
            if unit is None:
                raise
            raise BadField(column, f"{bad}; this is a time in {unit}: write ts={column}:{unit} in --map") from None


def _delimiter_of(file: Source) -> str:
    with file.open_text() as text:
        header = text.readline()
    found = max(DELIMITERS, key=header.count)
    if not header.strip():
        raise ImportFormatError(f"{file}:1: expected a header line with column names, got an empty file")
    return found
