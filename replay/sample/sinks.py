"""Files of the sample: the event log, Parquet, CSV, and what was planted. All appear whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from contracts.errors import SettingsError
from contracts.outputs import FileKind, Output, json_kind, text_kind, write_output, written_aside
from eventlog.files import EVENTS, ITEMS, write_events, write_items
from replay.sample.bots import KINDS as BOT_KINDS
from replay.sample.calendar import date_of
from replay.sample.days import Sample
from replay.sample.rows import COLUMNS, ITEM_COLUMNS, EventRows, document, item_row, session_id

FORMATS: Final = ("log", "parquet", "csv")
TRUTH: Final = json_kind("what a sample holds (truth.json)", "sample", "spells", "bots")
_MADE_BY: Final = b"nextclick sample"
_GROUP: Final = 50_000
"""Rows of a Parquet row group: what memory holds of them."""
_TYPES: Final = {
    "ts": "int64", "value": "double", "quantity": "int32", "price": "double", "margin": "double", "stock": "int32",
    "min_age": "int32", "regions": "list", "attributes.sizes[]": "list",
}  # fmt: skip
_CODED: Final = frozenset({"type", "device", "region", "user_agent", "size", "currency"})
Row = Sequence[Any]
Progress = Callable[[int], None]


def _is_ours(path: Path) -> bool:
    from pyarrow import ArrowException, parquet

    try:
        return (parquet.read_schema(path).metadata or {}).get(b"made_by") == _MADE_BY
    except (ArrowException, OSError):
        return False


_PARQUET: Final = FileKind("a Parquet file of `nextclick sample make`", _is_ours)
_KINDS: Final[dict[str, tuple[str, FileKind, FileKind]]] = {
    "log": ("jsonl.zst", EVENTS, ITEMS),
    "parquet": ("parquet", _PARQUET, _PARQUET),
    "csv": (
        "csv",
        text_kind("a CSV of events", ",".join(COLUMNS[:5])),
        text_kind("a CSV of items", ",".join(ITEM_COLUMNS[:5])),
    ),
}


@dataclass(frozen=True, slots=True)
class Places:
    """Where a sample goes: a folder, and in which forms."""

    folder: Path
    formats: tuple[str, ...]

    def __post_init__(self) -> None:
        if unknown := set(self.formats) - set(FORMATS):
            raise SettingsError(f"--format: expected some of {', '.join(FORMATS)}, got {', '.join(sorted(unknown))}")
        if not self.formats:
            raise SettingsError(f"--format: expected at least one of {', '.join(FORMATS)}, got none")
        if "parquet" in self.formats and find_spec("pyarrow") is None:
            raise SettingsError("--format parquet needs pyarrow: pip install 'nextclick[parquet]', or leave it out")

    def of(self, form: str, what: str) -> Path:
        return self.folder / f"{what}.{_KINDS[form][0]}"

    @property
    def truth(self) -> Path:
        return self.folder / "truth.json"

    def outputs(self) -> list[Output]:
        """Return every file that is written."""
        found: list[Output] = [(self.truth, TRUTH)]
        for form in self.formats:
            found += [(self.of(form, "events"), _KINDS[form][1]), (self.of(form, "items"), _KINDS[form][2])]
        return found


def write_sample(sample: Sample, places: Places, progress: Progress = lambda done: None) -> int:
    """Write a sample's items, events and truth, and return the number of events. `progress` is told how many so far."""
    places.folder.mkdir(parents=True, exist_ok=True)
    _write_items(sample, places)
    rows = EventRows(sample.stock, sample.wanted.seed)
    count = 0
    with ExitStack() as open_files:
        sinks = [
            open_files.enter_context(_sink(form, places.of(form, "events"), COLUMNS))
            for form in places.formats
            if form != "log"
        ]

        def all_rows() -> Iterator[tuple[Any, ...]]:
            nonlocal count
            for chunk in sample.days():
                day = list(rows.rows(chunk))
                for sink in sinks:
                    sink(day)
                yield from day
                count += len(day)
                progress(count)

        if "log" in places.formats:
            write_events(places.of("log", "events"), map(document, all_rows()))
        else:
            for _ in all_rows():
                pass
    write_output(places.truth, orjson.dumps(truth_of(sample), option=orjson.OPT_INDENT_2), TRUTH)
    return count


def truth_of(sample: Sample) -> dict[str, Any]:
    """Return what was planted in a sample that was made: its settings, its spells, its bots with their sessions."""
    asked = sample.wanted
    ids = [item_id for item_id, _ in sample.stock.items]
    spells = [
        {
            "kind": spell.kind,
            "about": spell.about,
            "from": str(date_of(asked.start_ms, spell.first)),
            "to": str(date_of(asked.start_ms, spell.end)),
            "items": int(spell.items.sum()),
            "discount": spell.discount,
        }
        for spell in sample.planned
    ]
    bots = [{**asdict(bot), "session": session_id(asked.seed, bot.session)} for bot in sample.bots]
    came = sample.stock.came.tolist()
    new = {item: str(date_of(asked.start_ms, day)) for item, day in zip(ids, came, strict=True) if day >= 0}
    return {"sample": asdict(asked), "spells": spells, "bot_kinds": BOT_KINDS, "bots": bots, "new_items": new}


def _write_items(sample: Sample, places: Places) -> None:
    for form in places.formats:
        path = places.of(form, "items")
        if form == "log":
            write_items(path, sample.stock.items)
            continue
        with _sink(form, path, ITEM_COLUMNS) as sink:
            rows = (item_row(*one) for one in sample.stock.items)
            while part := list(islice(rows, _GROUP)):
                sink(part)


def _sink(form: str, path: Path, columns: Sequence[str]) -> Any:
    return _parquet(path, columns) if form == "parquet" else _csv(path, columns)


@contextmanager
def _csv(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Iterable[Row]], None]]:
    _, of_events, of_items = _KINDS["csv"]
    kind = of_events if columns is COLUMNS else of_items
    with written_aside(path, kind) as aside, aside.open("x", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        if columns is COLUMNS:
            yield writer.writerows
        else:
            yield lambda rows: writer.writerows(map(_flat, rows))


def _flat(row: Row) -> list[Any]:
    return ["|".join(cell) if isinstance(cell, list) else cell for cell in row]


@contextmanager
def _parquet(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Sequence[Row]], None]]:
    import pyarrow
    from pyarrow import parquet

    named = {"list": pyarrow.list_(pyarrow.string()), "coded": pyarrow.dictionary(pyarrow.int32(), pyarrow.string())}
    fields = []
    for name in columns:
        kind = "coded" if name in _CODED else _TYPES.get(name, "string")
        fields.append(pyarrow.field(name, named.get(kind) or pyarrow.type_for_alias(kind)))
    schema = pyarrow.schema(fields, metadata={b"made_by": _MADE_BY})
    waiting: list[Row] = []

    def write(rows: Sequence[Row], least: int = _GROUP) -> None:
        waiting.extend(rows)
        if len(waiting) < max(least, 1):
            return
        arrays = [pyarrow.array(cells, one.type) for cells, one in zip(zip(*waiting, strict=True), schema, strict=True)]
        writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
        waiting.clear()

    with written_aside(path, _PARQUET) as aside, parquet.ParquetWriter(aside, schema, compression="zstd") as writer:
        yield write
        write([], least=1)
