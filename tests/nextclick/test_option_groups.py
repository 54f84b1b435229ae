"""Records of options: what people type is a command's own options, and the command gets the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from nextclick.commands.option_groups import spread

Rate = Annotated[float, typer.Option(min=1.0, help="Events a second.")]


@dataclass(frozen=True)
class Pace:
    rate: Rate = 10.0
    loud: Annotated[bool, typer.Option("--loud", help="Say it.")] = False


@dataclass(frozen=True)
class Shaped(Pace):
    ramp: Annotated[str, typer.Option(help="From, to.")] = ""


def typed(command: object, *words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    outcome = CliRunner().invoke(app, list(words))
    return outcome.exit_code, outcome.output


def test_the_fields_of_a_record_are_options_of_the_command_with_their_names_defaults_and_bounds() -> None:
    got: list[tuple[str, Shaped, int]] = []

    @spread
    def play(recording: str, shaped: Shaped, events: int = 3) -> None:
        """Play it."""
        got.append((recording, shaped, events))

    assert typed(play, "day", "--rate", "20", "--loud")[0] == 0
    assert typed(play, "night", "--ramp", "1..2", "--events", "5")[0] == 0
    assert got == [("day", Shaped(20.0, True, ""), 3), ("night", Shaped(10.0, False, "1..2"), 5)]
    assert typed(play, "day", "--rate", "0")[0] == 2
    assert len(got) == 2
    code, said = typed(play, "--help")
    assert code == 0
    assert all(words in said for words in ("Play it.", "Events a second.", "--loud", "--ramp", "--events"))


def test_an_option_that_two_records_have_is_refused() -> None:
    def play(pace: Pace, shaped: Shaped) -> None: ...

    with pytest.raises(ValueError, match="play: expected every option once, got loud, rate twice"):
        spread(play)
