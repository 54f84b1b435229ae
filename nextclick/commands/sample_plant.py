"""`nextclick sample plant`: a recording or a catalogue with a fault in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console(highlight=False, soft_wrap=True)
_EVER = 253_402_300_800_000


def plant_fault(
    file: Annotated[Path, typer.Argument(help="An event log, or an items file (.jsonl, .jsonl.zst).")],
    fault: Annotated[
        str,
        typer.Option(
            help="silent-TYPE, broken, duplicate, late, future, random-clicks, click-farm; of a catalogue: "
            "no-price, no-picture, no-category, no-stock."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")],
    since: Annotated[str, typer.Option("--from", help="When the fault begins, UTC. None: at once.")] = "",
    to: Annotated[str, typer.Option(help="When it ends. None: never.")] = "",
    share: Annotated[float, typer.Option(help="Share of the events or items that it happens to. 0: the usual.")] = 0.0,
    first: Annotated[str, typer.Option(help="Leave out events before: 2025-06-02.")] = "",
    end: Annotated[str, typer.Option(help="Leave out events from then on.")] = "",
    item: Annotated[list[str] | None, typer.Option(help="What a click farm clicks. Repeatable; drawn if none.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed plants the same.")] = 7,
) -> None:
    """Write a recording with a fault planted: a silent tracker, broken or late events, clicks at random ..."""
    import numpy as np

    from contracts.errors import SettingsError
    from contracts.outputs import expect_outputs
    from eventlog.files import ARRIVALS, EVENTS, read_raw, write_arrivals, write_events
    from replay.sample.faults import ITEM_FAULTS, Planting, Span, cut, fault_of, plant

    rng = np.random.default_rng(seed)
    if fault in ITEM_FAULTS:
        _plant_in_items(file, out, fault, share or 0.3, rng)
        return
    kind = fault_of(fault)
    span = Span(_moment("--from", since, 0), _moment("--to", to, _EVER), share or kind.usual_share)
    expect_outputs((out, EVENTS if kind.in_order else ARRIVALS), inputs=[file])
    planting = Planting(span, rng, tuple(item or ()))
    lines = read_raw(file)
    if first or end:
        lines = cut(lines, _moment("--first", first, 0), _moment("--end", end, _EVER))
    planted = plant(lines, kind, planting)
    count = write_events(out, planted).events if kind.in_order else write_arrivals(out, planted)
    if not planting.planted:
        kinds = f" of type {' or '.join(kind.types)}" if kind.types else ""
        raise SettingsError(
            f"{out}: expected events{kinds} between --from and --to, found none: nothing was "
            "planted; see the times and types of the recording (`nextclick replay show`)"
        )
    farmed = f", clicked: {', '.join(planting.farmed)}" if planting.farmed else ""
    console.print(f"{out}: {count:,} events, {planting.planted:,} planted ({kind.about}){farmed}", markup=False)


def _plant_in_items(file: Path, out: Path, fault: str, share: float, rng: object) -> None:
    from contracts.outputs import expect_outputs
    from eventlog.files import ITEMS, read_items, write_items
    from replay.sample.faults import ITEM_FAULTS, plant_in_items

    expect_outputs((out, ITEMS), inputs=[file])
    count = write_items(out, plant_in_items(read_items(file), fault, share, rng))  # type: ignore[arg-type]
    console.print(f"{out}: {count:,} items, {share:.0%} of them without {ITEM_FAULTS[fault]}", markup=False)


def _moment(option: str, text: str, otherwise: int) -> int:
    from nextclick.commands.moments import time_of

    return otherwise if not text else time_of(option, text, 0) or otherwise
