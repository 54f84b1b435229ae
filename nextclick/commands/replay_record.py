"""`nextclick replay record`: the event log into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs
from nextclick.commands.anonymise_options import Anonymise, KeepItems, Key, anonymiser_of
from nextclick.show.replay import console

Out = Annotated[Path, typer.Option("--out", "-o", help="The event-log file to write (.jsonl.zst).")]


def record(
    out: Out,
    start: Annotated[
        str, typer.Option("--from", help="log: from the oldest record kept; now: what arrives, for --seconds.")
    ] = "log",
    seconds: Annotated[float | None, typer.Option(min=0.1, help="How long; left out: what the log holds.")] = None,
    sample: Annotated[float, typer.Option(help="Share of the sessions; sessions stay whole.")] = 1.0,
    anonymise: Anonymise = False,
    key: Key = "",
    keep_items: KeepItems = False,
) -> None:
    """Record the event log that the settings name (Redis or Kafka) into a file."""
    from contracts.settings import ServiceSettings
    from eventlog.files import EVENTS
    from replay.engine.record import From, RecordOptions, record_log

    if start not in tuple(From):
        raise SettingsError(f"--from: expected {' or '.join(From)}, got {start!r}")
    expect_outputs((out, EVENTS))
    options = RecordOptions(out, start=From(start), seconds=seconds, share=sample)
    with console.status("recording") as status:
        recorded = record_log(
            options,
            ServiceSettings(),
            anonymiser=anonymiser_of(anonymise, key, keep_items),
            progress=lambda taken: status.update(f"recording: {taken:,} events"),
        )
    assert recorded.header is not None
    header = recorded.header
    console.print(f"{out}: {header.events:,} events, {header.sessions:,} sessions, {header.items:,} items")
    for reason, count in recorded.broken.items():
        console.print(f"  {count:,} records left out: {reason}", style="yellow")
    if recorded.trimmed:
        console.print(f"  {recorded.trimmed:,} records were trimmed before they were read", style="yellow")
