"""The commands `nextclick import NAME`, one a published layout, and what their options share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs
from nextclick.commands.anonymise_options import Anonymise, KeepItems, Key, anonymiser_of
from nextclick.commands.option_groups import spread

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.engine.anonymise import Anonymiser
    from replay.importers import Broken, Hours, Importer, ItemsImporter
    from replay.importers.layout import Progress as ShowProgress

console = Console()

Source = Annotated[Path, typer.Argument(help="The publisher's file, or the folder or zip that holds it.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The event-log file to write (.jsonl.zst).")]
Items = Annotated[Path | None, typer.Option("--items", help="Also write the catalogue, as an items file.")]
Days = Annotated[str, typer.Option(help="Days from the first, half open: 0:1 is the first, 1: all others.")]
Gap = Annotated[float, typer.Option(min=0.1, help="Minutes without a click after which a session ends.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first broken line.")]


@dataclass(frozen=True, slots=True)
class Reading:
    """Options of every import: which days, what of a broken line, and whose ids are replaced."""

    days: Days = ""
    strict: Strict = False
    anonymise: Anonymise = False
    key: Key = ""
    keep_items: KeepItems = False

    def hours(self) -> Hours | None:
        """Return the hours that `days` names, None for all."""
        from replay.importers import Hours

        return Hours.of_days(self.days) if self.days else None


@spread
def import_globo(
    source: Annotated[Path, typer.Argument(help="The publisher's clicks.zip, or its extracted folder.")],
    out: Out,
    reading: Reading,
    from_hour: Annotated[int, typer.Option(help="First hour to take, from 0.")] = 0,
    to_hour: Annotated[int | None, typer.Option(help="Hour to stop before.")] = None,
) -> None:
    """Import the Globo.com news clicks."""
    from replay.importers import Globo, Hours

    if reading.days and (from_hour or to_hour is not None):
        raise SettingsError("expected --days, or --from-hour and --to-hour, got both: choose one")
    _take(Globo(), source, out, reading, hours=reading.hours() or Hours(from_hour, to_hour))


@spread
def import_retailrocket(source: Source, out: Out, reading: Reading, items: Items = None, idle_gap: Gap = 30.0) -> None:
    """Import RetailRocket: events.csv with its item properties and category tree."""
    from replay.importers import RetailRocket

    importer = RetailRocket(idle_gap_ms=round(idle_gap * 60_000))
    anonymiser = _take(importer, source, out, reading, items)
    if items is not None:
        run_items_import(importer, source, items, strict=reading.strict, anonymiser=anonymiser)


@spread
def import_diginetica(
    source: Source,
    out: Out,
    reading: Reading,
    items: Items = None,
    spread: Annotated[bool, typer.Option("--spread", help="Spread session starts over their day.")] = False,
) -> None:
    """Import Diginetica (CIKM Cup 2016): train-item-views.csv, with purchases and result lists beside it."""
    from replay.importers import Diginetica

    importer = Diginetica(spread=spread)
    anonymiser = _take(importer, source, out, reading, items)
    if items is not None:
        run_items_import(importer, source, items, strict=reading.strict, anonymiser=anonymiser)


@spread
def import_yoochoose(source: Source, out: Out, reading: Reading) -> None:
    """Import YooChoose (RecSys Challenge 2015): yoochoose-clicks.dat, with yoochoose-buys.dat beside it."""
    from replay.importers import YooChoose

    _take(YooChoose(), source, out, reading)


@spread
def import_otto(source: Source, out: Out, reading: Reading) -> None:
    """Import OTTO's sessions (2022): one session a line of JSON."""
    from replay.importers import Otto

    _take(Otto(), source, out, reading)


@spread
def import_trivago(source: Source, out: Out, reading: Reading) -> None:
    """Import trivago (RecSys Challenge 2019): train.csv or Parquet; what a clickout chose from is an impression."""
    from replay.importers import Trivago

    _take(Trivago(), source, out, reading)


@spread
def import_csv(
    source: Source,
    out: Out,
    columns: Annotated[
        str,
        typer.Option("--map", help="Which column is what: session_id=SessionId,item_id=ItemId,ts=Time:seconds."),
    ],
    reading: Reading,
    types: Annotated[str, typer.Option(help="The table's words for events: clicks=view,buy=purchase.")] = "",
    delimiter: Annotated[str, typer.Option(help="Between columns; else what the header line holds most of.")] = "",
    idle_gap: Gap = 30.0,
) -> None:
    """Import any table of clicks with a header line. Units of ts: milliseconds, seconds, microseconds, iso."""
    from replay.importers import ColumnMap, MappedTable

    importer = MappedTable(
        ColumnMap.parse(columns),
        types=_words(types),
        delimiter=delimiter.replace("\\t", "\t"),
        gap_ms=round(idle_gap * 60_000),
    )
    _take(importer, source, out, reading)


Payloads = Annotated[Path, typer.Argument(help="A .jsonl file (also .gz, .zst): one payload a line.")]


@spread
def import_ga4(source: Payloads, out: Out, reading: Reading) -> None:
    """Import Google Analytics 4: payloads of the Measurement Protocol, or rows of its BigQuery export as JSON lines."""
    _take_payloads("ga4", source, out, reading)


@spread
def import_segment(source: Payloads, out: Out, reading: Reading) -> None:
    """Import Segment's messages: one a line, or a batch."""
    _take_payloads("segment", source, out, reading)


@spread
def import_snowplow(source: Payloads, out: Out, reading: Reading) -> None:
    """Import Snowplow's tracker payloads (payload_data)."""
    _take_payloads("snowplow", source, out, reading)


@spread
def import_cloudevents(source: Payloads, out: Out, reading: Reading) -> None:
    """Import CloudEvents 1.0 in the structured form: one a line, or a batch."""
    _take_payloads("cloudevents", source, out, reading)


@spread
def import_matomo(source: Payloads, out: Out, reading: Reading) -> None:
    """Import requests of Matomo's tracking API: JSON, or as they stand in an address."""
    _take_payloads("matomo", source, out, reading)


def _take_payloads(vendor: str, source: Path, out: Path, reading: Reading) -> None:
    from replay.importers import Collected

    _take(Collected(vendor), source, out, reading)


def _take(
    importer: Importer,
    source: Path,
    out: Path,
    reading: Reading,
    items: Path | None = None,
    *,
    hours: Hours | None = None,
) -> Anonymiser | None:
    """Import the events; returns what anonymised them, for the catalogue beside them, which is to go to `items`."""
    from eventlog.files import EVENTS, ITEMS

    expect_outputs((out, EVENTS), (items, ITEMS), inputs=[source])
    anonymiser = anonymiser_of(reading.anonymise, reading.key, reading.keep_items)
    hours = hours or reading.hours()
    run_import(importer, source, out, hours=hours, strict=reading.strict, anonymiser=anonymiser)
    return anonymiser


def _words(types: str) -> dict[str, str]:
    words = {}
    for part in filter(None, types.split(",")):
        word, equals, kind = part.partition("=")
        if not equals or kind not in ("view", "cart", "purchase"):
            raise SettingsError(f"--types: expected WORD=view, WORD=cart or WORD=purchase, got {part!r}")
        words[word] = kind
    return words


TABLES = (import_otto, import_trivago, import_csv)
PAYLOADS = (import_ga4, import_segment, import_snowplow, import_cloudevents, import_matomo)
IMPORTS = (import_globo, import_retailrocket, import_diginetica, import_yoochoose, *TABLES, *PAYLOADS)
"""The commands, one a layout: `import_globo` is `nextclick import globo`."""


def run_import(
    importer: Importer, source: Path, out: Path, *, hours: Hours | None, strict: bool, anonymiser: Anonymiser | None
) -> None:
    """Import with progress bars, and say what came of it."""
    from replay.importers import import_log

    with _bars() as bars:
        imported = import_log(
            importer,
            source,
            out,
            hours=hours,
            strict=strict,
            anonymiser=anonymiser,
            progress=_shown(bars),
            may_be_empty=False,
        )
    header = imported.header
    console.print(
        f"{out}: {header.events:,} events, {header.sessions:,} sessions, {header.items:,} items"
        f"{', anonymised' if header.anonymised else ''}; {imported.broken:,} broken lines skipped"
    )
    _say_problems(imported.problems)


def run_items_import(
    importer: ItemsImporter, source: Path, out: Path, *, strict: bool, anonymiser: Anonymiser | None
) -> None:
    """Import a catalogue with a progress bar, and say what came of it."""
    from replay.importers import import_items

    with _bars() as bars:
        imported = import_items(importer, source, out, strict=strict, anonymiser=anonymiser, progress=_shown(bars))
    console.print(f"{out}: {imported.items:,} catalogue items; {imported.broken:,} broken lines skipped")
    _say_problems(imported.problems)


def _say_problems(problems: tuple[Broken, ...]) -> None:
    for problem in problems:
        console.print(f"  {problem}", style="yellow", highlight=False, markup=False)


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)


def _shown(bars: Progress) -> ShowProgress:
    names = {"read": "reading files", "write": "writing events"}
    tasks = {phase: bars.add_task(name, total=None, start=False, visible=False) for phase, name in names.items()}

    def show(phase: str, done: int, whole: int) -> None:
        if not bars.tasks[tasks[phase]].started:
            bars.start_task(tasks[phase])
        bars.update(tasks[phase], completed=done, total=whole, visible=True)

    return show
