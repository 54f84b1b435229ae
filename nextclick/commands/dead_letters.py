"""`nextclick dead-letters list | show | count`: look at what could not be taken."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contracts.errors import NextclickError
from eventlog.contract import KeptLetter
from eventlog.letter_choice import Choice, chosen, count_by_reason, newest
from nextclick.commands.letter_options import (
    Partitions,
    Reasons,
    Redis,
    Since,
    Until,
    choice_of,
    letters_of,
    name_of,
    settings_of,
)
from nextclick.commands.moments import shown

console = Console()


def list_letters(
    reason: Reasons = None,
    partition: Partitions = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, at most: the newest.")] = 20,
    redis: Redis = None,
) -> None:
    """List dead letters, the newest first."""
    choice = choice_of(reason, partition, since, until)
    with letters_of(settings_of(redis), choice) as letters:
        found = newest(letters, choice, limit, _row)
    if not found:
        console.print(_nothing(choice))
        return
    table = Table("name", "written (UTC)", "source", "reason", "detail")
    for column in table.columns[:2]:
        column.no_wrap = True
    for cells in found:
        table.add_row(*(Text(_plain(cell)) for cell in cells))
    console.print(table)


def show(
    name: Annotated[str, typer.Argument(help="The letter, by the name that `list` shows: p3:17.")], redis: Redis = None
) -> None:
    """Show one dead letter whole: why it was refused, and its record."""
    choice = Choice(names=frozenset({name_of(name)}))
    with letters_of(settings_of(redis), choice) as letters:
        found = next(chosen(letters, choice), None)
    if found is None:
        raise NextclickError(f"there is no dead letter {name}: `nextclick dead-letters list` shows those there are")
    _print_whole(found)


def count(
    reason: Reasons = None, partition: Partitions = None, since: Since = None, until: Until = None, redis: Redis = None
) -> None:
    """Count dead letters by reason."""
    choice = choice_of(reason, partition, since, until)
    with letters_of(settings_of(redis), choice) as letters:
        counted = count_by_reason(letters, choice)
    table = Table("reason", "letters", show_footer=True)
    for name, letters_of_it in counted.most_common():
        table.add_row(Text(name), f"{letters_of_it:,}")
    table.columns[0].footer, table.columns[1].footer = "all", f"{counted.total():,}"
    table.columns[1].justify = "right"
    console.print(table)


def _print_whole(kept: KeptLetter) -> None:
    letter = kept.letter
    facts = {
        "name": kept.position.token,
        "written": f"{shown(letter.at_ms)} UTC",
        "source": letter.source,
        "partition": str(letter.partition),
        "reason": letter.reason,
        "detail": _plain(letter.detail),
        "record": f"{len(letter.raw):,} bytes",
    }
    for name, value in facts.items():
        console.print(f"{name:10}{value}", markup=False, highlight=False, soft_wrap=True)
    console.print(_plain(letter.raw.decode(errors="replace")), markup=False, highlight=False, soft_wrap=True)


def _row(kept: KeptLetter) -> tuple[str, ...]:
    position, letter = kept
    return position.token, shown(letter.at_ms), letter.source, letter.reason, letter.detail


def _nothing(choice: Choice) -> str:
    return "There are no dead letters." if choice.is_everything else "No dead letter is like that."


def _plain(text: str) -> str:
    """Return text that does nothing to a terminal: what a client sent may hold its control characters."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)
