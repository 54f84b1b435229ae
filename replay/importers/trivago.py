"""trivago (RecSys Challenge 2019): `train.csv`, or the same columns as Parquet. The list that a clickout chose from
becomes an impression, with `prices` beside its items, and the clickout names it by `request_id`.

A clickout leaves for the hotel's page, which is as far as this traffic goes: it counts as a purchase. What was done
with a hotel before (image, info, rating, deals, a search for it) is a view. Searches, filters and sorting are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import orjson

from contracts.errors import ImportFormatError
from contracts.events import shown as shortened
from eventlog.packed import damaged
from replay.importers.layout import Broken, Hours, OnBroken, Progress
from replay.importers.rows import BadField, Table, event_json, identifier, number, optional, seconds
from replay.importers.sources import Source, expect

FILES = ("train.csv", "test.csv")
COLUMNS = ("session_id", "user_id", "timestamp", "step", "action_type", "reference", "impressions", "prices")
CLICKOUT = "clickout item"
VIEWS = frozenset(
    {
        "interaction item image",
        "interaction item info",
        "interaction item rating",
        "interaction item deals",
        "search for item",
    }
)
_LONGEST_LIST = 1000
_ROWS_AT_ONCE = 20_000

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Trivago:
    """`trivago`: the folder or zip with train.csv, or a .csv or .parquet file itself."""

    name: str = "trivago"
    layout: str = "trivago, RecSys Challenge 2019: train.csv, or a .parquet of the same columns"
    picks_hours: bool = False
    idle_gap_ms: int | None = None

    def events(
        self, source: Path, hours: Hours, on_broken: OnBroken, progress: Progress
    ) -> Iterator[tuple[int, bytes]]:
        """Yield views, and an impression with the purchase that chose from it. A broken row spoils itself only."""
        progress("read", 0, 1)
        is_parquet = source.suffix == ".parquet"
        file = expect(source, FILES)
        mark = file.mark()
        for line, row in _parquet(source) if is_parquet else _csv(file, on_broken):
            try:
                yield from _events(f"{mark}-{line}", {name: _field(name, row[name]) for name in COLUMNS})
            except BadField as bad:
                on_broken(Broken(str(file), line, bad.column, str(bad)))
        progress("read", 1, 1)


def _csv(file: Source, on_broken: OnBroken) -> Iterator[tuple[int, Row]]:
    with file.open_text() as text:
        table = Table(text, str(file), on_broken, quoted=True)
        places = {name: table.column(name) for name in COLUMNS}
        for line, row in table:
            yield line, {name: row[place] for name, place in places.items()}


def _parquet(source: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    if find_spec("pyarrow") is None:
        raise ImportFormatError(f"{source}: reading Parquet needs pyarrow: install the `train` extra, or give a CSV")
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    numbers = count(1)
    try:
        with ParquetFile(source) as file:
            missing = set(COLUMNS) - set(file.schema_arrow.names)
            if missing:
                raise ImportFormatError(f"{source}: expected the columns {', '.join(sorted(missing))}, found none")
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(COLUMNS)):
                for row in batch.to_pylist():
                    yield next(numbers), row
    except (OSError, ArrowException) as error:
        raise damaged(source, f"expected a Parquet file: {error}") from error


def _field(column: str, value: object) -> str:
    """Return a value as a CSV would hold it. Raises BadField for what a CSV cannot hold."""
    if value is None or value != value:  # numbers with gaps are floats, their gaps no numbers
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadField(column, f"expected text or a number, got {shortened(value, 60)}")
    return str(value)


def _events(line: str, row: Row) -> Iterator[tuple[int, bytes]]:
    action = row["action_type"]
    if action != CLICKOUT and action not in VIEWS:
        return
    at_ms = seconds("timestamp", row["timestamp"])
    session, user = identifier("session_id", row["session_id"]), optional(row["user_id"])
    if action != CLICKOUT:
        if row["reference"].isdecimal():  # a search for an item that has no number names none
            item = identifier("reference", row["reference"])
            yield event_json(f"tv-{line}", "view", session, item, at_ms, user_id=user)
        return
    shown = [identifier("impressions", item) for item in row["impressions"].split("|")][:_LONGEST_LIST]
    prices = [number("prices", price) for price in row["prices"].split("|")][:_LONGEST_LIST]
    if len(prices) != len(shown):
        raise BadField("prices", f"expected {len(shown)} prices, one an item shown, got {len(prices)}")
    request = f"tv-list-{line}"
    yield _impression(f"tv-shown-{line}", session, user, at_ms, request, shown, prices)
    clicked: dict[str, object] = orjson.loads(
        event_json(f"tv-{line}", "purchase", session, identifier("reference", row["reference"]), at_ms, user_id=user)[1]
    )
    yield at_ms, orjson.dumps({**clicked, "request_id": request})


def _impression(
    event_id: str,
    session: str,
    user: str | None,
    at_ms: int,
    request: str,
    shown: Sequence[str],
    prices: Sequence[float],
) -> tuple[int, bytes]:
    fields: dict[str, object] = {"v": 1, "event_id": event_id, "type": "impression", "session_id": session}
    if user is not None:
        fields["user_id"] = user
    return at_ms, orjson.dumps({**fields, "ts": at_ms, "request_id": request, "items": shown, "prices": prices})
