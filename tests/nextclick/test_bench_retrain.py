"""Where the slope of a training's cost leads: a line through what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventlog.files import read_header
from nextclick.bench.retrain import line_through, rows_of, write_clicks


def test_a_constant_and_a_cost_a_click_are_told_apart_and_lead_to_ten_million() -> None:
    clicks, seconds = [1000, 2000, 4000], [12.0, 14.0, 18.0]
    assert line_through(clicks, seconds) == (pytest.approx(10.0), pytest.approx(0.002))
    by_name = {row.name: row for row in rows_of(clicks, seconds, [100.0, 110.0, 120.0])}
    last = by_name["10,000,000 clicks on 2 cores, extrapolated"]
    assert (last.value, last.target, last.met) == (pytest.approx(20_010 / 7200), 2.0, False)
    assert by_name["of each further click"].value == pytest.approx(2.0)
    assert by_name["twice the clicks take"].value == pytest.approx(1.5**0.5)


def test_as_many_clicks_are_written_as_are_asked_for(tmp_path: Path) -> None:
    write_clicks(500, tmp_path / "e.jsonl.zst", tmp_path / "i.jsonl.zst")
    assert read_header(tmp_path / "e.jsonl.zst").events == 500
