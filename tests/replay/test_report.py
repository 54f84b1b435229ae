from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ImportFormatError
from replay.measure.histogram import Histogram
from replay.report.charts import linear_axis, log_axis, thinned
from replay.report.page import read_result, report_page, write_report

CHROMIUM = shutil.which("chromium")


def times(**more: float) -> dict[str, float]:
    return {"count": 4, "mean": 2.0, "p50": 1.0, "p90": 3.0, "p95": 4.0, "p99": 7.5, "p999": 9.0, "max": 1200.0, **more}


def result(**more: Any) -> dict[str, Any]:
    seconds = 120
    one = {"count": [5] * seconds, "p50": [1.0] * seconds, "p90": [3.0] * seconds, "p99": [7.0] * seconds}
    series = {"second": list(range(seconds)), **one, "max": [None, *[9.0] * 118, 2000.0], "errors": [0] * 119 + [3]}
    series |= {f"answers_{name}": values for name, values in one.items()}
    series |= {"answers_hits": [1] * seconds, "answers_errors": [0] * seconds, "answers_degraded": [1] * seconds}
    histogram = Histogram.of(np.array([1.0, 2.0, 3.0, 2000.0])).as_json()
    return {
        "run": "r1",
        "recording": "day.jsonl.zst (600 events)",
        "target": "http://127.0.0.1:1",
        "pace": "5 events a second, evenly",
        "accepted": 597,
        "rejected": {},
        "failed": {"status 503": 3},
        "retries": 2,
        "elapsed_s": 120.5,
        "rate": 4.95,
        "latency": times(),
        "service": times(),
        "sender_lag": times(),
        "invalid": [],
        "stopped": False,
        "answers": {
            "questions": 600,
            "errors": {},
            "degraded": {"no_ranker": 120},
            "stale": 4,
            "short": 0,
            "hits": 120,
            "dropped": {"answers": 600, "rules": {"seen": {"candidates": 900, "answers": 450, "squares": 2000}}},
            "latency": times(),
            "service": times(),
            "stages": {"total": times(), "retrieve": times(p50=0.4, p99=0.9)},
        },
        "seen": None,
        "series": series,
        "histograms": {"events": histogram, "answers": histogram},
        "machine": {"cpu": "a cpu", "cores": 2, "memory_gb": 8, "system": "Linux", "python": "3.11"},
        **more,
    }


class Page(HTMLParser):
    """Collects a page's text, its tags that stay open, and whatever would be fetched."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.fetched, self.open = list[str](), list[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "br", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "br"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def test_the_page_shows_what_the_run_came_to_and_fetches_nothing() -> None:
    page = report_page(result())
    read = Page(page)
    assert (read.fetched, read.open) == ([], [])
    assert "url(" not in page
    assert "@import" not in page
    for shown in (
        "Replay r1", "3 events were lost", "7.5 ms", "Latency by percentile", "retrieve", "no_ranker", "status 503",
        "Hit rate of the next click", "20.0%", "What the rules dropped", "1.50 in 75%", "a cpu, 2 cores",
    ):  # fmt: skip
        assert shown in read.text, shown


def test_what_was_done_is_marked_in_every_chart_over_time() -> None:
    marks = [{"at_s": 30.0, "name": "kill sessions"}, {"at_s": 60.0, "name": "stop redis for 5 s", "until_s": 65.0}]
    page = report_page(result(marks=marks))
    assert "kill sessions at 30 s" in Page(page).text
    assert "stop redis for 5 s at 60 s to 65 s" in Page(page).text
    at = page.partition("{left:25.00%;width:0.00%}")[0].rpartition('[data-s="')[2].removesuffix('"]')
    assert page.count(f'data-s="{at}" title="kill sessions"') == page.count('title="stop redis') == 5


def test_a_check_that_did_not_hold_and_an_invalid_run_are_said_first() -> None:
    checks = [{"name": "accepted = applied + dead-lettered", "held": False, "detail": "1 lost"}]
    text = Page(report_page(result(failed={}, invalid=["the sender was late"], checks=checks))).text
    assert "Invalid run: the sender was late" in text
    assert "Not held: accepted = applied + dead-lettered" in text
    assert "A valid run" not in text
    assert "A valid run" in Page(report_page(result(failed={}))).text


def test_a_scenarios_page_bears_its_name() -> None:
    assert "<h1>A bad afternoon</h1>" in report_page(result(scenario="A bad afternoon"))


def test_names_from_outside_cannot_become_markup() -> None:
    evil = "<script>alert(1)</script>"
    page = report_page(result(run=evil, failed={evil: 1}, recording=evil, marks=[{"at_s": 1.0, "name": evil}]))
    assert "<script>alert" not in page
    assert page.count("<script>") == 1


def test_a_result_without_answers_or_series_is_still_a_page() -> None:
    bare = result(answers=None, series={}, histograms={}, machine=None)
    read = Page(report_page(bare))
    assert read.open == []
    assert "Hit rate" not in read.text
    assert "event, from intended time" in read.text


def test_a_report_is_written_from_a_result_file(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(orjson.dumps(result()))
    write_report(read_result(tmp_path / "result.json"), tmp_path / "out" / "report.html")
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("text", ["", "[]", '{"hello": 1}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ImportFormatError, match="expected the result of a replay"):
        read_result(tmp_path / "x.json")


def test_thinning_keeps_the_highest_of_every_stretch() -> None:
    assert thinned([1.0, 5.0, None, None, 2.0], 3) == [5.0, None, 2.0]
    assert thinned([1.0, None], 600) == [1.0, None]


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_axes_hold_what_they_show_with_few_round_ticks(most: float) -> None:
    axis = linear_axis(most)
    assert axis.low == 0.0
    assert axis.high >= most * (1 - 1e-9)
    assert 3 <= len(axis.ticks) <= 7
    scale = log_axis([most, most / 7])
    assert scale.low <= max(most / 7, 1e-3) * 1.0001
    assert scale.high >= min(most, scale.high)
    assert 0.0 <= scale.share(most / 7) <= scale.share(most) <= 1.0


@given(st.integers(min_value=1, max_value=10**7))
def test_axes_of_counts_have_whole_ticks(most: int) -> None:
    axis = linear_axis(float(most), show="{:,.0f}".format, whole=True)
    assert all(at == int(at) for at, _ in axis.ticks)
    assert len({label for _, label in axis.ticks}) == len(axis.ticks)
    assert axis.high >= most


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path")
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(tmp_path: Path, width: int) -> None:
    page = report_page(result(marks=[{"at_s": 30.0, "name": "kill"}]))
    probe = (
        "<script>addEventListener('load',()=>{const page=document.querySelector('iframe').contentDocument"
        ".documentElement;document.title='over '+(page.scrollWidth-page.clientWidth)})</script>"
    )
    (tmp_path / "report.html").write_text(page)
    (tmp_path / "frame.html").write_text(f'{probe}<iframe src="report.html" style="width:{width}px;border:0"></iframe>')
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--allow-file-access-from-files", "--virtual-time-budget=2000", f"--user-data-dir={tmp_path / 'profile'}"),
        (tmp_path / "frame.html").as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=500).stdout
    assert "<title>over 0</title>" in dom
