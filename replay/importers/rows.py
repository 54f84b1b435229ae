"""Lines of a table as fields: columns found by name, values checked, what is broken named by its column."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TextIO

import orjson

from contracts.errors import ImportFormatError
from contracts.events import shown as shortened
from replay.importers.layout import Broken, OnBroken

LONGEST_ID = 256
LAST_MS = 253_402_300_799_999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_PLAIN_TYPES = frozenset({"view", "cart", "purchase"})
_MISSING = re.compile(
    r"(?:#?N/?A|n/a|<NA>|-?nan|-?NaN|NULL|[Nn]ull|\(null\)|[Nn]one|undefined|\\N|-?1\.#(?:IND|QNAN))?"
)
"""What tables write where a value is missing: what pandas reads so, and what databases and JavaScript write."""

_ZONE_WORD = re.compile(r"\s*(?:UTC|GMT|Z)$", re.IGNORECASE)
_BEFORE_OFFSET = re.compile(r"\s+(?=[+-]\d\d(?::?\d\d)?$)")


class BadField(ValueError):
    """A field that cannot be taken; `column` names it."""

    def __init__(self, column: str, problem: str) -> None:
        self.column = column
        super().__init__(problem)


class Table:
    """One file's rows, with its columns by name. Give it the open file, then iterate: (line number, row)."""

    def __init__(
        self,
        file: TextIO,
        shown: str,
        on_broken: OnBroken,
        *,
        delimiter: str = ",",
        header: Sequence[str] | None = None,
        quoted: bool = False,
    ) -> None:
        """`header` names the columns of a layout that has no header line."""
        if len(delimiter) != 1:
            raise ImportFormatError(f"expected one character between columns, got {delimiter!r}")
        if quoted:
            self._rows = csv.reader(file, delimiter=delimiter)
        else:
            self._rows = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        self.shown, self._on_broken = shown, on_broken
        self.header = list(header) if header is not None else [name.strip() for name in self._first(shown)]

    def _first(self, shown: str) -> list[str]:
        try:
            return next(self._rows, [])
        except csv.Error as error:
            raise ImportFormatError(
                f"{shown}:1: expected a header line with column names, got none ({error})"
            ) from error

    def column(self, *names: str) -> int:
        """Return the place of the first of `names` that is there. Raises ImportFormatError."""
        place = self.column_if_there(*names)
        if place is None:
            raise ImportFormatError(
                f"{self.shown}:1: expected a column {' or '.join(map(repr, names))}, got {', '.join(self.header)!r:.99}"
            )
        return place

    def column_if_there(self, *names: str) -> int | None:
        """Return the place of the first of `names` that is there, None when none is. Case does not matter."""
        known = {name.lower(): place for place, name in reversed(list(enumerate(self.header)))}
        return next((known[name.lower()] for name in names if name.lower() in known), None)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows that have as many columns as the header; the others are handed to `on_broken`."""
        rows, width = self._rows, len(self.header)
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                self.broken(rows.line_num, self.header[0], str(error))
                continue
            if row is None:
                return
            if len(row) == width:
                yield rows.line_num, row
            elif row:
                self.broken(rows.line_num, *_wrong_width(self.header, row))

    def broken(self, line: int, column: str, problem: str) -> None:
        self._on_broken(Broken(self.shown, line, column, problem))


def _wrong_width(header: Sequence[str], row: Sequence[str]) -> tuple[str, str]:
    column = header[len(row)] if len(row) < len(header) else f"{len(header) + 1}"
    return column, f"expected {len(header)} columns, got {len(row)}"


def identifier(column: str, text: str) -> str:
    """Return an id. Raises BadField when it is too long, empty, or a word for none."""
    if len(text) > LONGEST_ID or _MISSING.fullmatch(text.strip()):
        raise BadField(column, f"expected an id of 1 to {LONGEST_ID} characters, got {text!r:.60}")
    return text


def json_id(column: str, value: object) -> str:
    """Return an id as JSON holds it, text or a whole number. Raises BadField for anything else."""
    return identifier(column, json_text(column, value, "an id, text or a whole number"))


def json_text(column: str, value: object, expected: str) -> str:
    """Return a text or a whole number of a JSON document as text. Raises BadField for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadField(column, f"expected {expected}, got {shortened(value, 60)}")
    return str(value)


def optional(text: str) -> str | None:
    """Return an id that may be missing: empty, and words for none (`NA`, `null`), are None."""
    return None if len(text) > LONGEST_ID or _MISSING.fullmatch(text.strip()) else text


def milliseconds(column: str, text: str) -> int:
    """Parse epoch milliseconds. Raises BadField."""
    if not (text.isascii() and text.isdecimal() and 11 <= len(text) <= 15) or int(text) > LAST_MS:
        raise BadField(column, f"expected epoch milliseconds (13 digits), got {text!r:.60}")
    return int(text)


def unit_of(text: str) -> str | None:
    """Return the unit in which a text that is no epoch milliseconds is a time; None where it is none in any."""
    for unit, parse in (("seconds", seconds), ("microseconds", microseconds), ("iso", iso_time)):
        with suppress(BadField):
            parse("", text)
            return unit
    return None


def seconds(column: str, text: str) -> int:
    """Parse epoch seconds, with or without a fraction, as milliseconds. Raises BadField."""
    return _scaled(column, text, 1000.0, "epoch seconds (10 digits)")


def microseconds(column: str, text: str) -> int:
    """Parse epoch microseconds as milliseconds. Raises BadField."""
    return _scaled(column, text, 0.001, "epoch microseconds (16 digits)")


def iso_time(column: str, text: str) -> int:
    """Parse an ISO 8601 time as epoch milliseconds; one without a zone is UTC. Raises BadField.

    The zone may also be written as databases do: `2020-01-01 00:00:00 UTC`, `2020-01-01 00:00:00 +01:00`.
    """
    try:
        at = _as_written(text)
    except ValueError:
        raise BadField(column, f"expected a time such as 2014-04-07T10:51:09.277Z, got {text!r:.60}") from None
    at_ms = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MS
    if not 0 <= at_ms <= LAST_MS:
        raise BadField(column, f"expected a time from 1970 on, got {text!r:.60}")
    return at_ms


def _as_written(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(_BEFORE_OFFSET.sub("", _ZONE_WORD.sub("", text.strip())))


def number(column: str, text: str) -> float:
    """Parse a number. Raises BadField."""
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not isfinite(found):
        raise BadField(column, f"expected a number, got {text!r:.60}")
    return found


def _scaled(column: str, text: str, factor: float, expected: str) -> int:
    at_ms = round(number(column, text) * factor)
    if not 10**10 <= at_ms <= LAST_MS:
        raise BadField(column, f"expected {expected}, got {text!r:.60}")
    return at_ms


def event_json(
    event_id: str,
    kind: str,
    session_id: str,
    item_id: str,
    ts_ms: int,
    *,
    user_id: str | None = None,
    context: Mapping[str, object] | None = None,
    value: float | None = None,
) -> tuple[int, bytes]:
    """Return (epoch ms, event JSON), what an importer yields."""
    fields: dict[str, object] = {"v": 1, "event_id": event_id, "type": kind, "session_id": session_id}
    if user_id is not None:
        fields["user_id"] = user_id
    fields["item_id"] = item_id
    fields["ts"] = ts_ms
    if context:
        fields["context"] = context
    if value is not None:
        fields["value"] = value
    return ts_ms, orjson.dumps(fields)


def event_type(column: str, text: str, names: Mapping[str, str]) -> str:
    """Return the event type that a publisher's word stands for. Raises BadField for a word that is not known."""
    kind = names.get(text)
    if kind is None:
        if text in _PLAIN_TYPES:
            return text
        raise BadField(column, f"expected {', '.join(names or sorted(_PLAIN_TYPES))}, got {text!r:.60}")
    return kind
