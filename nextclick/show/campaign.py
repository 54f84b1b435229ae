"""A campaign on a terminal: how far it is and how fast, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from nextclick.campaign.run import Show, Summary

EVERY_S = 10.0
"""Between two lines where there is no terminal."""
_WHY = {
    "invalid": "row without a user, or with a field that no request may have",
    "repeated": "the user stands in an earlier row",
    "suppressed": "on a suppression list",
    "outside_filter": "not of the filter",
    "consent": "no consent to marketing",
    "cap": "written to as often as the cap allows",
    "placement_cap": "the placement's own cap (gateway.caps)",
    "nothing_to_show": "the rules left no item",
}


@contextmanager
def watched(console: Console) -> Iterator[Show]:
    """Give what shows how many users are done, and how many a second."""
    began, first, said = time.monotonic(), -1, time.monotonic()
    columns = (TextColumn("picking"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None, rate="")

        def show(done: int, total: int) -> None:
            nonlocal began, first, said
            now = time.monotonic()
            if first < 0:  # what an earlier run did is no pace
                began, first = now, done
            rate = f"{(done - first) / max(now - began, 1e-3):,.0f} users/s"
            bar.update(task, completed=done, total=total, rate=rate)
            if not console.is_terminal and now - said >= EVERY_S:
                said = now
                console.print(f"{done:,} of {total:,} users · {rate}", highlight=False)

        yield show


def summed_up(console: Console, found: Summary, seconds: float) -> None:
    """Print what a run came to."""
    table = Table("", "users", "", box=None, padding=(0, 2, 0, 0))
    table.columns[1].justify = "right"
    table.add_row("picked for", f"{found.picked:,}", f"{found.items:,} items")
    for why, count in found.skipped.most_common():
        table.add_row(f"skipped: {why}", f"{count:,}", _WHY.get(why, ""))
    for what, count in found.degraded.most_common():
        table.add_row(f"answered with: {what}", f"{count:,}", "users whose picks say so in `degraded` (docs/api.md)")
    console.print(table)
    again = ", gone on with" if found.resumed else ""
    console.print(f"{found.users:,} rows in {seconds:,.1f} s{again}", highlight=False)
    if found.batches:
        console.print(f"the webhook took {found.batches:,} batches", highlight=False)
