"""Sessions written as words, and the public recordings where they are there."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from contracts.events import EventCode
from evaluation.sessions import Click, Sessions, from_clicks

DATA = Path(__file__).parents[3] / "shared" / "data"


def sessions(*words: str, letters: str = "abcdefgh") -> Sessions:
    """One session a word, one click a letter, a minute apart; the first word is the oldest."""
    clicks = [
        Click(f"s{number}", letters.index(letter), 60_000 * (100 * number + at), int(EventCode.VIEW))
        for number, word in enumerate(words)
        for at, letter in enumerate(word)
    ]
    return from_clicks(tuple(letters), clicks)


def recording(*path: str) -> Path:
    """Return a public recording's path; skips the test where it is not."""
    found = DATA.joinpath(*path)
    if not found.exists():
        pytest.skip(f"needs the public recording {'/'.join(path)} in ../shared/data, which is not there")
    return found


def read_click_tables(paths: Sequence[Path]) -> list[Sessions]:
    """Read tab-separated tables with the columns SessionId, ItemId and Time (seconds); one item list for all."""
    place: dict[str, int] = {}
    tables = []
    for path in paths:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t")
            tables.append(
                [
                    Click(
                        row["SessionId"],
                        place.setdefault(row["ItemId"], len(place)),
                        round(float(row["Time"]) * 1000),
                    )
                    for row in rows
                ]
            )
    return [from_clicks(tuple(place), clicks) for clicks in tables]
