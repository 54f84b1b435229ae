"""Recorded sessions as columns, and the cases that a test asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contracts.errors import ImportFormatError
from evaluation.sessions import Click, cases_of, from_clicks, read_session_lines
from tests.evaluation.recordings import sessions


def test_every_prefix_asks_for_the_item_that_follows_it() -> None:
    cases = cases_of(sessions("abca", "d", "ee"))
    asked = [(cases.prefix(at).tolist(), int(cases.targets[at])) for at in range(len(cases))]
    assert asked == [([0], 1), ([0, 1], 2), ([0, 1, 2], 0), ([4], 4)]
    assert cases.repeated.tolist() == [False, False, True, True]
    assert cases.last.tolist() == [0, 1, 2, 4]


def test_a_sample_keeps_order_and_repeats_with_its_seed() -> None:
    cases = cases_of(sessions("abcdefgh", "hgfedcba"))
    first, again = (cases.sample(5, np.random.default_rng(3)) for _ in range(2))
    assert len(first) == 5
    assert first.ends.tolist() == again.ends.tolist() == sorted(first.ends.tolist())
    assert len(cases.sample(99, np.random.default_rng(3))) == 14


def test_lines_follow_one_another_as_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("7 8\n\n9 7 7\n")
    (tmp_path / "test").write_text("8 1\n")
    train, test = read_session_lines(tmp_path / "train", tmp_path / "test")
    assert train.item_ids == test.item_ids == ("7", "8", "9", "1")
    assert train.items.tolist() == [0, 1, 2, 0, 0]
    assert train.starts.tolist() == [0, 2, 5]
    assert train.ts_ms.tolist() == [0, 15_000, 60_000, 70_000, 80_000]
    assert test.ts_ms.tolist() == [120_000, 135_000]
    (tmp_path / "test").write_text("\n")
    with pytest.raises(ImportFormatError, match="expected one session a line"):
        read_session_lines(tmp_path / "train", tmp_path / "test")


@pytest.mark.parametrize("first", ["SessionId\tItemId\tTime", "SessionId,ItemId", '{"session": 1}', "1;2"])
def test_a_table_is_not_taken_for_sessions(tmp_path: Path, first: str) -> None:
    (tmp_path / "table.txt").write_text(f"{first}\n")
    with pytest.raises(ImportFormatError, match="`nextclick import csv` makes an event log of a table"):
        read_session_lines(tmp_path / "table.txt", tmp_path / "table.txt")


def test_sessions_stand_in_the_order_in_which_they_ended() -> None:
    clicks = [Click("long", 0, 0), Click("short", 1, 10), Click("short", 2, 20), Click("long", 3, 30)]
    found = from_clicks(("a", "b", "c", "d"), clicks[::-1])
    assert (found.items.tolist(), found.starts.tolist()) == ([1, 2, 0, 3], [0, 2, 4])


def test_a_pause_longer_than_the_idle_gap_begins_another_session() -> None:
    clicks = [Click("s", 0, 0), Click("s", 1, 100), Click("s", 2, 201)]
    assert from_clicks(("a", "b", "c"), clicks, idle_gap_ms=100).starts.tolist() == [0, 2, 3]
    assert from_clicks(("a", "b", "c"), clicks).starts.tolist() == [0, 3]
