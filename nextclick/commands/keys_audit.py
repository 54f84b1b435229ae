"""`nextclick keys audit`: who changed keys, dead letters and the catalogue, when and from where."""

from __future__ import annotations

from heapq import merge
from itertools import islice, takewhile
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contracts.clock import wall_clock_ms
from nextclick.commands.key_options import Redis, redis_of
from nextclick.commands.moments import shown, time_of

console = Console()

_SKEW_MS = 60_000
"""Lines stand as they came; their times are of the processes that wrote them."""


def show_audit(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many lines, at most: the newest.")] = 50,
    since: Annotated[str | None, typer.Option(help="Only since: 30m, 2h, 7d ago, or 2026-01-31T12:00.")] = None,
    who: Annotated[str | None, typer.Option(help="Only of this key, by its id.")] = None,
    redis: Redis = None,
) -> None:
    """Show the audit log, the newest first: changes of keys and dead letters, what admins asked, catalogue writes."""
    from state.audit import ADMIN, CATALOGUE, AuditLog

    since_ms = time_of("--since", since, wall_clock_ms()) or 0
    log = AuditLog(redis_of(redis))
    try:
        newest = merge(log.newest(ADMIN), log.newest(CATALOGUE), key=lambda entry: -entry.at_ms)
        near = takewhile(lambda entry: entry.at_ms >= since_ms - _SKEW_MS, newest)
        entries = list(islice((one for one in near if one.at_ms >= since_ms and who in (None, one.who)), limit))
    finally:
        log.close()
    table = Table("when (UTC)", "who", "what", "from", "outcome")
    for column in table.columns[:2]:
        column.no_wrap = True
    for one in entries:
        table.add_row(*map(Text, (shown(one.at_ms), one.who, one.what, one.source, one.outcome)))
    console.print(table if entries else "The audit log holds nothing like that.")
