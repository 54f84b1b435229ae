"""Buyers in the terminal: progress, and what they were shown, clicked and bought."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from contracts.errors import SettingsError
from contracts.events import CURRENCY
from contracts.masked import masked
from contracts.outputs import write_output
from replay.measure.sales import SALES, Sales, Takings

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.engine import buying
    from replay.synthetic.shop import Shop

_console: Final = Console(highlight=False, soft_wrap=True)
_is_name: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.IGNORECASE).fullmatch
FIRST_POSITIONS: Final = 10


def expect_run(options: buying.BuyOptions) -> None:
    """Raise before a long run would find that it cannot work: SettingsError, GatewayUnreachable."""
    from nextclick.stack.client import expect_listening
    from replay.engine.buying import expect_own_gateway

    for option, name in (("--run", options.run), ("--first", options.first), ("--then", options.then)):
        if not _is_name(name):
            raise SettingsError(f"{option}: expected up to 64 letters, digits, '.', '_' or '-', got {name!r:.80}")
    if not re.fullmatch(CURRENCY, options.currency):
        raise SettingsError(f"--currency: expected three capital letters, such as EUR, got {options.currency!r:.40}")
    expect_own_gateway(options.url)
    expect_listening(options.url)


def buy_and_show(options: buying.BuyOptions, shop: Shop) -> Takings:
    """Let the buyers come, with a bar of visits, and print what came of it. Ctrl-C ends the run in order."""
    import uvloop

    from nextclick.show.replay import stop_on_interrupt
    from replay.engine.buying import send_buyers

    async def bought() -> Takings:
        stop = stop_on_interrupt()
        with _watching(options.visits) as bars:
            task = bars.add_task("buyers", total=options.visits)
            return await send_buyers(
                options, shop, progress=lambda now: bars.update(task, completed=now.total.visits), stop=stop
            )

    takings = uvloop.run(bought())
    show_takings(_console, takings, options.currency)
    return takings


def show_takings(console: Console, takings: Takings, currency: str) -> None:
    """Print tables of the groups and their positions, and what went wrong."""
    console.print(sales_table(takings, currency))
    console.print(positions_table(takings))
    for what, counts in (
        ("events refused", takings.rejected),
        ("events failed", takings.failed),
        ("questions without a list", takings.unanswered),
    ):
        if counts:
            said = ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common())
            console.print(f"[bold red]{what}[/]: {said}")
    if takings.unknown:
        console.print(
            f"{takings.unknown:,} of {takings.total.shown:,} items shown are none of this shop's: buyers like nothing "
            "about them. Load the shop's items, or give its --shop-seed."
        )


def sales_table(takings: Takings, currency: str) -> Table:
    """Return a row for each experiment and variant, and one for all."""
    names = ("visits", "shown", "clicks", "CTR", "carts", "orders", "returned", f"revenue {currency}")
    table = _table(f"{takings.total.visits:,} visits, {takings.members:,} by members", names)
    for name, sales in _rows(takings):
        table.add_row(
            name,
            *(f"{count:,}" for count in (sales.visits, sales.shown, sales.clicks)),
            _share(sales.ctr),
            *(f"{count:,}" for count in (sales.carts, sales.orders, sales.returns)),
            f"{sales.revenue:,.2f}",
        )
    return table


def positions_table(takings: Takings) -> Table:
    """Return the click rates at the first positions."""
    positions = range(1, min(max(takings.total.shown_at, default=0), FIRST_POSITIONS) + 1)
    table = _table("CTR by position", [str(position) for position in positions])
    for name, sales in _rows(takings):
        table.add_row(name, *(_share(sales.ctr_at(position)) for position in positions))
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("variant", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def write_sales(path: Path, options: buying.BuyOptions, takings: Takings) -> None:
    """Write what came of a run as JSON."""
    said = ("visits", "rate", "seconds", "at_once", "think_s", "first", "then", "limit", "seed", "currency")
    document = {
        "run": options.run,
        "target": masked(options.url),
        "options": {name: getattr(options, name) for name in said},
        **takings.as_json(),
    }
    write_output(path, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE), SALES)
    _console.print(f"Written: {path}")


def _rows(takings: Takings) -> Iterator[tuple[str, Sales]]:
    for (experiment, variant), sales in sorted(takings.groups.items()):
        yield f"{experiment} {variant}".strip() or "no experiment", sales
    if len(takings.groups) != 1:
        yield "all", takings.total


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


@contextmanager
def _watching(visits: int) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_console, transient=True) as bars:
        yield bars
