from __future__ import annotations

from nextclick.show.sparkline import lines, periods, sparkline


def test_blocks_stand_between_the_lowest_and_the_highest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.02, None, 0.04]) == "▁ █"
    assert sparkline([3, 3]) == "▅▅"
    assert sparkline([None, None]) == "  "


def test_hours_without_anything_are_there_and_the_newest_are_shown() -> None:
    assert periods(["2026-11-29T23:00Z", "2026-11-30T01:00Z"], "hour") == [
        "2026-11-29T23:00Z",
        "2026-11-30T00:00Z",
        "2026-11-30T01:00Z",
    ]
    assert len(periods(["2026-01-01", "2026-11-30"], "day")) == 24
    assert periods([], "day") == []


def test_each_row_has_a_line_of_its_own() -> None:
    figures = {
        ("yes", "2026-11-29"): {"revenue:EUR": 1.0},
        ("yes", "2026-12-01"): {"revenue:EUR": 3.0},
        ("no", "2026-11-30"): {"revenue:EUR": 3.0},
    }
    assert lines(figures, "day", "revenue") == {("yes",): "▁ █", ("no",): " ▅ "}
