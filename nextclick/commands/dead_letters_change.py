"""`nextclick dead-letters replay | drop`: take letters out of the list, by sending them again or for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from contracts.clock import wall_clock_ms
from contracts.errors import NextclickError
from eventlog.letter_choice import Choice, batches, chosen
from nextclick.commands.key_options import note
from nextclick.commands.letter_options import (
    Names,
    Partitions,
    Reasons,
    Redis,
    Since,
    Until,
    choice_of,
    expect_partitions,
    letters_of,
    settings_of,
)

if TYPE_CHECKING:
    from gateway.letter_replay import Outcome

console = Console()

_DROPPED_AT_ONCE, _BYTES_AT_ONCE = 500, 50_000_000

All = Annotated[bool, typer.Option("--all", help="All letters there are.")]


def replay(
    names: Names = None,
    reason: Reasons = None,
    partition: Partitions = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    redis: Redis = None,
) -> None:
    """Send dead letters again, through the same check as new records, and say what became of each.

    Those that are taken leave the list; those that are refused again stay, and make the exit status 1.
    """
    from eventlog.open_log import open_writer
    from gateway.letter_replay import Replay

    choice, settings = _expect_chosen(choice_of(reason, partition, since, until, names), everything), settings_of(redis)
    accepted = refused = 0
    expect_partitions(choice, settings)
    writer = open_writer(settings.log, settings.redis)
    with letters_of(settings, choice) as letters:
        replaying = Replay(settings, letters, writer, wall_clock_ms)
        try:
            for outcome in replaying.run(chosen(letters, choice)):
                _say(outcome)
                accepted, refused = accepted + (outcome.refused is None), refused + (outcome.refused is not None)
        finally:
            replaying.close()
            writer.close()
    _expect_found(accepted + refused, choice)
    if accepted:
        note(settings.redis, f"dead-letters replay: {accepted} taken, {refused} refused again")
    console.print(f"{accepted:,} accepted, {refused:,} refused again (they stay in the list).", highlight=False)
    if refused:
        raise typer.Exit(1)


def drop(
    names: Names = None,
    reason: Reasons = None,
    partition: Partitions = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    redis: Redis = None,
) -> None:
    """Take dead letters out of the list for good."""
    choice = _expect_chosen(choice_of(reason, partition, since, until, names), everything)
    dropped, settings = 0, settings_of(redis)
    with letters_of(settings, choice) as letters:
        for batch in batches(chosen(letters, choice), _DROPPED_AT_ONCE, _BYTES_AT_ONCE):
            letters.remove(batch)
            dropped += len(batch)
    _expect_found(dropped, choice)
    if dropped:
        note(settings.redis, f"dead-letters drop: {dropped}")
    console.print(f"{dropped:,} dropped.", highlight=False)


def _expect_chosen(choice: Choice, everything: bool) -> Choice:
    """Return the choice. Raises NextclickError where nothing was chosen, or all and something."""
    if choice.is_everything and not everything:
        raise NextclickError(
            "expected which letters: names (p3:17), --reason, --partition, --since or --until; or --all for all"
        )
    if everything and not choice.is_everything:
        raise NextclickError("expected --all, or names and options that choose some; got both")
    return choice


def _expect_found(count: int, choice: Choice) -> None:
    if not count and choice.names:
        names = ", ".join(sorted(position.token for position in choice.names))
        raise NextclickError(f"there is no dead letter {names}: `nextclick dead-letters list` shows those there are")


def _say(outcome: Outcome) -> None:
    name = outcome.kept.position.token
    if outcome.refused is not None:
        said = f"{name} refused again: {outcome.refused}"
    else:
        assert outcome.position is not None
        said = f"{name} accepted: {outcome.topic}:{outcome.position.partition}:{outcome.position.offset}"
    printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in said)
    console.print(printable, markup=False, highlight=False, soft_wrap=True)
