"""What a load needs follows from the measured slopes alone."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from nextclick.bench.capacity import Slopes, main, need, peak_of, slopes_of


def test_cores_and_processes_follow_from_processor_time_a_request_and_a_click() -> None:
    slopes = Slopes({"gateway": 600.0, "redis": 30.0}, {"gateway": 20.0, "sessions": 30.0})
    found = need(slopes, requests=1000.0, clicks=10_000.0, core_hour=0.1)
    assert found.busy_cores == pytest.approx({"gateway": 0.8, "redis": 0.03, "sessions": 0.3})
    assert found.processes == {"gateway": 2, "redis": 1, "sessions": 1}
    assert (found.cores, found.partitions, found.cost_a_month) == (4, 2, pytest.approx(292.0))
    assert found.log_bytes_a_day == pytest.approx(11_000 * 250 * 28_800)


def test_twice_the_load_keeps_twice_the_cores_busy() -> None:
    slopes = Slopes({"gateway": 600.0}, {"trends": 25.0})
    one, two = (need(slopes, requests=100.0 * n, clicks=500.0 * n) for n in (1, 2))
    assert [two.busy_cores[name] / one.busy_cores[name] for name in one.busy_cores] == pytest.approx([2.0, 2.0])


def test_a_process_that_is_exactly_filled_needs_no_other() -> None:
    assert need(Slopes({"gateway": 600.0}, {}), requests=1000.0, clicks=0.0).processes == {"gateway": 1}


def test_a_billion_events_a_day_are_thirty_five_thousand_a_second_at_the_peak() -> None:
    assert peak_of(1e9) == pytest.approx(34_722, abs=1)


def test_slopes_are_read_from_a_profile_without_sums_and_without_the_load_generator() -> None:
    rows = {"request: gateway-0": 300.0, "request: gateway-1": 310.0, "request: all": 900.0, "request: trends": 90.0}
    rows |= {"request: load generator": 80.0, "request: all, idle use counted": 950.0, "click: sessions": 30.0}
    assert slopes_of({**rows, "idle: all": 3.0}) == Slopes({"gateway": 610.0, "trends": 90.0}, {"sessions": 30.0})


@pytest.mark.parametrize("usable", [0.0, -1.0, 1.5])
def test_an_impossible_share_of_a_core_is_refused(usable: float) -> None:
    with pytest.raises(ValueError, match="expected a share of a core"):
        need(Slopes({}, {}), requests=1.0, clicks=1.0, usable=usable)


def test_other_rows_are_no_profile() -> None:
    with pytest.raises(ValueError, match="expected rows of build/bench/profile"):
        slopes_of({"p99": 3.0})


def test_a_profile_that_cannot_be_relied_on_gives_no_slopes() -> None:
    with pytest.raises(ValueError, match="trends used less than when idle"):
        slopes_of({"request: trends": -1.0, "click: trends": 30.0})


def test_the_command_says_what_a_profile_in_a_file_makes_of_a_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"name": "request: gateway-0", "value": 600.0}, {"name": "click: sessions", "value": 30.0}]
    path = tmp_path / "profile.json"
    path.write_bytes(orjson.dumps({"rows": rows}))
    main([str(path), "--requests", "1000", "--events-a-day", "288e6"])
    told = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert told[:3] == [
        "1,000 requests/s and 10,000 clicks/s at the peak",
        "gateway: 1 processes, 0.6 cores busy",
        "sessions: 1 processes, 0.3 cores busy",
    ]
    assert told[4] == "2 partitions of the log, 79 GB a day"
