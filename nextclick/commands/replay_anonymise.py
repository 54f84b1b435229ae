"""`nextclick replay anonymise`: a recording without its ids."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contracts.outputs import expect_outputs
from nextclick.commands.anonymise_options import Key, anonymiser_of
from nextclick.commands.replay_options import Recording
from nextclick.show.replay import console


def anonymise(
    recording: Recording,
    out: Annotated[Path, typer.Argument(help="The event-log file to write (.jsonl.zst).")],
    key: Key = "",
    keep_items: Annotated[bool, typer.Option("--keep-items", help="Leave item ids as they are.")] = False,
) -> None:
    """Replace the ids of a recording by keyed hashes; order, times and repeats stay."""
    from eventlog.files import EVENTS
    from replay.engine.anonymise import anonymise_log

    expect_outputs((out, EVENTS), inputs=[recording])
    anonymiser = anonymiser_of(True, key, keep_items)
    assert anonymiser is not None
    with console.status("anonymising") as status:
        header = anonymise_log(
            recording, out, anonymiser, progress=lambda done: status.update(f"anonymising: {done:,} events")
        )
    console.print(f"{out}: {header.events:,} events, anonymised")
