"""What the `nextclick dead-letters` commands share: how letters are chosen on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from contracts.clock import wall_clock_ms
from contracts.errors import NextclickError
from eventlog.contract import DeadLetterReader, Position
from eventlog.letter_choice import Choice
from nextclick.commands.moments import time_of
from nextclick.stack.options import setting_option
from nextclick.stack.settings import StackSettings, with_given

Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only letters of this reason; may be repeated.")]
Partitions = Annotated[list[int] | None, typer.Option("--partition", help="Only of this partition; may be repeated.")]
Since = Annotated[str | None, typer.Option("--since", help="Only written since: 30m, 2h, 7d ago, or 2026-01-31T12:00.")]
Until = Annotated[str | None, typer.Option("--until", help="Only written before: as --since.")]
Redis = Annotated[str | None, setting_option("redis.url", "--redis", help="Redis of the deployment.")]
Names = Annotated[list[str] | None, typer.Argument(help="Letters, by the name that `list` shows: p3:17.")]


def settings_of(redis: str | None) -> StackSettings:
    """Return the settings with what was typed."""
    return with_given(StackSettings(), {"redis.url": redis})


def choice_of(
    reasons: Sequence[str] | None,
    partitions: Sequence[int] | None,
    since: str | None,
    until: str | None,
    names: Sequence[str] | None = None,
) -> Choice:
    """Return what was chosen. Raises NextclickError for a name or a time that is none."""
    now_ms = wall_clock_ms()
    return Choice(
        names=frozenset(name_of(name) for name in names or ()),
        reasons=frozenset(reasons or ()),
        partitions=frozenset(partitions or ()),
        since_ms=time_of("--since", since, now_ms),
        until_ms=time_of("--until", until, now_ms),
    )


def name_of(text: str) -> Position:
    """Return the letter that a name means. Raises NextclickError."""
    try:
        return Position.parse(text)
    except ValueError as error:
        raise NextclickError(f"expected a letter's name such as p3:17, as `list` shows it, got {text!r}") from error


def expect_partitions(choice: Choice, settings: StackSettings) -> None:
    """Raise NextclickError for a name or an option of a partition that the log does not have."""
    last = settings.log.partitions - 1
    for position in sorted(choice.names):
        if position.partition > last:
            raise NextclickError(
                f"expected a letter of partition 0 to {last} (log.partitions), such as p{last}:17, got "
                f"{position.token}: `nextclick dead-letters list` shows those there are"
            )
    for partition in sorted(choice.partitions):
        if not 0 <= partition <= last:
            raise NextclickError(
                f"--partition: expected a partition from 0 to {last} (log.partitions), got {partition}"
            )


@contextmanager
def letters_of(settings: StackSettings, choice: Choice) -> Iterator[DeadLetterReader]:
    """Open the dead letters of a deployment, of which some are chosen. Raises NextclickError as `expect_partitions`."""
    from eventlog.open_log import open_dead_letters

    expect_partitions(choice, settings)
    reader = open_dead_letters(settings.log, settings.redis)
    try:
        yield reader
    finally:
        reader.close()
