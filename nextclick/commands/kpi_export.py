"""`nextclick kpi export`: what was shown and what came of it, as Parquet files by hour."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def export_kpi(
    out: Annotated[
        Path, typer.Option(help="Folder of the ledger: one that is empty, or an earlier one to go on with.")
    ],
    since: Annotated[str, typer.Option("--from", help="First hour: 2026-11-29, 2026-11-29T13:00Z. None: all.")] = "",
    to: Annotated[str, typer.Option(help="The last hour. None: all.")] = "",
    settle: Annotated[
        float, typer.Option(help="Hours after its end in which outcomes count for an hour. None: the longest window.")
    ] = -1.0,
    follow: Annotated[bool, typer.Option(help="Go on, and write each hour when it closes.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks at the log, with --follow.")] = 10.0,
    recording: Annotated[
        list[Path] | None, typer.Option(help="Recorded events (.jsonl.zst) instead of the log. Repeatable.")
    ] = None,
) -> None:
    """Write a row an item shown, by hour. Hours that are closed are written once; others again, next time."""
    from attribution.figures import hour_of
    from contracts.errors import LogUnavailable, OffsetTrimmed, SettingsError
    from contracts.settings import ServiceSettings
    from replay.ledger.export import RECORDED, SHELF, Ledger, Wanted, log_reading, take_recordings, totals

    if follow and recording:
        raise SettingsError("expected --follow or --recording, got both: a recording does not grow")
    settings, console = ServiceSettings(), Console(highlight=False, soft_wrap=True)
    settle_ms = settings.attribution.longest_ms if settle < 0 else int(settle * 3_600_000)
    wanted = Wanted(hour_of(since) if since else 0, hour_of(to) if to else 1 << 40, settle_ms)
    if recording:  # read afresh each time
        (out / RECORDED).unlink(missing_ok=True)
    ledger = Ledger(out, settings, wanted, console.out, RECORDED if recording else SHELF)
    try:
        if recording:
            take_recordings(ledger, recording)
        else:
            with log_reading(ledger) as read:
                read()
                while follow:
                    ledger.write()
                    time.sleep(every)
                    try:
                        read()
                    except (LogUnavailable, OffsetTrimmed) as error:
                        console.print(f"{error}: asking again in {every:g} s", markup=False)
        ledger.write(also_open=True)
    except KeyboardInterrupt:
        console.print("stopped: the next run goes on from here")
    finally:
        ledger.close()
    found = totals(ledger.manifest)
    left = ", ".join(f"{name} {count:,}" for name, count in ledger.manifest.left_out.items())
    console.print(
        f"{out}: {found['rows']:,} rows of {found['pages']:,} pages in {found['hours']:,} hours"
        + (f" · left out: {left}" if left else "")
    )
