"""`nextclick quality`: what is wrong with the data that comes in, or with a recording, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nextclick.stack.options import url_option


def quality(
    recording: Annotated[
        Path | None,
        typer.Argument(
            exists=True, dir_okay=False, help="Recorded events (.jsonl.zst) to judge. None: a running gateway."
        ),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The catalogue of the recording (items.jsonl.zst)."),
    ] = None,
    url: Annotated[str | None, url_option("A running gateway.")] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="Also checks that have not enough data.")] = False,
    bias: Annotated[
        bool,
        typer.Option(
            "--bias",
            help="Of a recording with impressions: exposure and click rate by supplier, price, age, region, device.",
        ),
    ] = False,
) -> None:
    """Check the data: silent trackers, broken or late events, unknown items, bots, missing fields, strange prices.

    Exit status 1 where a check is bad. A recording is judged at each quarter of an hour: what is shown is the worst.
    """
    from contracts.errors import SettingsError
    from nextclick.show.quality_tables import Row, quality_table, summary

    if recording is None and items is not None:
        raise SettingsError("expected a recording before --items, got none: a running gateway has its own catalogue")
    if bias:
        if recording is None:
            raise SettingsError("expected a recording before --bias, got none: `nextclick replay record` makes one")
        _show_bias(recording, items)
        return
    rows = [Row(**one) for one in (_of_gateway(url) if recording is None else _of_recording(recording, items))]
    console = Console(highlight=False)
    console.print(quality_table([row for row in rows if all_of_them or row.state != "not enough data"]))
    console.print(summary(rows), markup=False, soft_wrap=True)
    if any(row.state == "bad" for row in rows):
        raise typer.Exit(1)


def _show_bias(path: Path, items: Path | None) -> None:
    from contracts.clock import wall_clock_ms
    from contracts.plain_events import PlainEvent, decode_event
    from eventlog.files import read_items, read_raw
    from nextclick.show.quality_tables import bias_table
    from quality.bias import bias

    catalogue, now_ms = {} if items is None else dict(read_items(items)), wall_clock_ms()
    records = (decode_event(raw, now_ms=now_ms) for raw in read_raw(path))
    found = bias((one for one in records if isinstance(one, PlainEvent)), catalogue)
    console = Console(highlight=False)
    if not any(share.shown for share in found):
        console.print("nothing was shown: record with impressions (`nextclick replay record`)")
        return
    console.print(bias_table(found))


def _of_gateway(url: str | None) -> list[dict[str, Any]]:
    from nextclick.stack.client import Client
    from nextclick.stack.settings import gateway_url

    with Client(gateway_url(url)) as client:
        checks: list[dict[str, Any]] = client.quality()["checks"]
    return checks


def _of_recording(path: Path, items: Path | None) -> list[dict[str, Any]]:
    from contracts.clock import wall_clock_ms
    from contracts.errors import ImportFormatError
    from contracts.settings import ServiceSettings
    from eventlog.files import read_items, read_raw
    from quality.catalogue import figures_of
    from quality.recorded import as_they_came, counted, judge_recording
    from quality.tally import EVENTS, TallyRules

    settings, now_ms = ServiceSettings(), wall_clock_ms()
    rules = TallyRules.of(settings.quality, settings.session.idle_gap_ms, settings.events.types)
    held = None if items is None else {item_id for item_id, _ in read_items(items)}
    catalogue = None if items is None else figures_of(read_items(items))
    records = as_they_came(read_raw(path), now_ms)
    cells = counted(records, rules, now_ms, held).cells
    if not any(name == EVENTS for _, name in cells):
        raise ImportFormatError(
            f"{path}: expected a recording with events in it, got none: "
            "`nextclick replay record` makes one, `--items` names a catalogue"
        )
    found = judge_recording(cells, settings.quality, catalogue)
    return [
        {
            "name": worst.check.name,
            "of": worst.check.of,
            "state": str(worst.check.state),
            "figure": worst.check.figure,
            "threshold": worst.check.threshold,
            "says": worst.check.says,
            "minute": worst.minute,
        }
        for worst in found
    ]
