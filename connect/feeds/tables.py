"""Tables in text: rows of fields by name, whichever mark stands between them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from connect.feeds.lines import Encodings, text_lines
from connect.feeds.rows import MOST_FIELDS, MOST_ITEM_BYTES, Chunks, Fault, FeedBroken

DELIMITERS: Final = ("\t", ";", ",", "|")


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row and the line that it begins in."""

    line: int
    fields: dict[str, str]


class _Lines:
    """Counts lines, and bounds what one row may gather: a quote that is not closed would take the rest of the file."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines, self.count, self.since, self.ended = iter(lines), 0, 0, False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self.count += 1
        self.since += len(line)
        if self.since > MOST_ITEM_BYTES:
            raise FeedBroken(
                f"expected a row of at most {MOST_ITEM_BYTES:,} characters: is a quote not closed?", self.count
            )
        return line.rstrip("\r\n").replace("\r", " ") + "\n"  # one in a field would end the reading


def table_rows(
    chunks: Chunks, taken: Encodings, name_of: Callable[[str], str], is_known: Callable[[str], bool]
) -> Iterator[TableRow | Fault]:
    """Yield the rows below a header. The delimiter is the one that makes most known names of the header.

    `name_of` writes a header's name as the format does, `is_known` tells whether it is one that is read. A row with
    more fields than the header is a fault: something in it is shifted. Raises FeedBroken without a header.
    """
    lines = _Lines(text_lines(chunks, taken))
    header = next((line for line in lines if line.strip()), "")
    if not header:
        return  # empty: nothing is in it, and nothing is wrong with it
    delimiter = delimiter_of(header, name_of, is_known)
    names = _names(header, delimiter, name_of)
    _expect_names(names, is_known, lines.count)
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    while True:
        begins, lines.since = lines.count + 1, 0
        try:
            values = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise FeedBroken(f"expected a row of a table, got one that cannot be read ({error})", begins) from error
        if lines.ended:  # the row asked for more
            raise FeedBroken("expected whole rows, got an end within quotes: the feed is cut off", begins)
        if not any(value.strip() for value in values):
            continue
        yield _row(begins, names, values)


def delimiter_of(header: str, name_of: Callable[[str], str], is_known: Callable[[str], bool]) -> str:
    """Return what stands between a header's names: what makes most known ones of it, then most of any. Pure."""

    def found(delimiter: str) -> tuple[int, int]:
        names = _names(header, delimiter, name_of)
        return sum(map(is_known, names)), len(names)

    return max(DELIMITERS, key=found)


def _names(header: str, delimiter: str, name_of: Callable[[str], str]) -> list[str]:
    try:
        return [name_of(name) for name in next(csv.reader([header], delimiter=delimiter), [])]
    except csv.Error:  # none that can be told apart
        return []


def _expect_names(names: Sequence[str], is_known: Callable[[str], bool], line: int) -> None:
    if len(names) > MOST_FIELDS:
        raise FeedBroken(f"expected at most {MOST_FIELDS} columns, got {len(names):,}", line)
    if not any(map(is_known, names)):
        said = ", ".join(names)[:200]
        raise FeedBroken(f"expected a header with the columns' names, such as id and title, got {said!r}", line)


def _row(line: int, names: Sequence[str], values: Sequence[str]) -> TableRow | Fault:
    if len(values) > len(names) and any(value.strip() for value in values[len(names) :]):
        detail = f"expected {len(names)} fields as in the header, got {len(values)}: is one not quoted?"
        return Fault(line, detail)
    fields: dict[str, str] = {}
    for name, value in zip(names, values, strict=False):
        if value and not fields.get(name):  # of two columns of a name, the first that says something
            fields[name] = value
    return TableRow(line, fields)
