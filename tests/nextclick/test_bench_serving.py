"""Parts of the serving benchmark that its figures stand on, and its page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import SettingsError
from nextclick.bench.accounting import Accounts, Usage
from nextclick.bench.load import Loaded
from nextclick.bench.serving import Asked, numbers, peer_driven, serving_rows
from nextclick.bench.serving_page import serving_page
from nextclick.bench.serving_runs import RatePoint, growth, highest_rate, holds, ladder, normal_after, point_of
from nextclick.bench.shop_traffic import Traffic


def _point(rate: float, p99: float, *, sent: int = 1000, answered: int = 1000) -> RatePoint:
    return RatePoint(rate, sent, answered, 1.0, 2.0, p99, 0, sent - answered, 0.0, {"gateway-0": 500.0}, 60.0)


def _loaded(latency_ms: list[float], finished_s: list[float]) -> Loaded:
    latency = np.array(latency_ms)
    return Loaded(
        10.0, 1.0, 6, latency, latency, np.array(finished_s), {"200": 4, "503": 1, "reset": 1}, 2, 1, {}, 0.003
    )


def test_a_point_tells_losses_from_refusals_and_the_senders_cost_apart() -> None:
    point = point_of(_loaded([1.0, 2.0, 3.0, 4.0], [0.0] * 4), {"gateway-0": 400.0, "redis": 100.0})
    assert (point.p50, point.answered, point.refused, point.errors) == (2.5, 4, 1, 1)
    assert (point.degraded, point.total_us, point.sender_us) == (0.5, 500.0, 500.0)


def test_a_rate_holds_with_a_fast_p99_and_next_to_nothing_lost() -> None:
    assert holds(_point(100, 49.9, answered=999), 50.0)
    assert not holds(_point(100, 50.0), 50.0)
    assert not holds(_point(100, 10.0, answered=998), 50.0)
    assert not holds(_point(100, 0.0, answered=0), 50.0)


def test_a_ladder_climbs_from_the_lowest_rate_and_ends_where_requests_only_queue() -> None:
    tried = [point.rate for point in ladder(lambda rate: _point(rate, rate * 2), [400, 100, 800, 1600])]
    assert tried == [100, 400, 800]


@pytest.mark.parametrize(("breaks_at", "found"), [(170.0, 162.5), (90.0, None), (9999.0, 400.0)])
def test_the_highest_rate_is_bisected_between_the_last_that_held_and_the_first_that_did_not(
    breaks_at: float, found: float | None
) -> None:
    def at(rate: float) -> RatePoint:
        return _point(rate, 10.0 if rate < breaks_at else 500.0)

    points = list(ladder(at, [100, 200, 400]))
    assert highest_rate(at, points, 50.0) == found


def test_it_is_normal_again_after_the_last_slow_answer() -> None:
    assert normal_after(_loaded([90.0, 3.0, 80.0, 2.0], [0.5, 0.7, 1.5, 3.0]), 10.0) == 1.5
    assert normal_after(_loaded([9.0, 3.0], [0.5, 0.7]), 10.0) == 0.0
    assert normal_after(_loaded([9.0, 30.0], [0.5, 0.7]), 10.0) is None


def test_growth_is_of_processes_that_were_there() -> None:
    before = Accounts(0.0, {"redis": Usage(1.0, 1000), "index": Usage(1.0, 0)})
    after = Accounts(60.0, {"redis": Usage(2.0, 1030), "index": Usage(1.0, 500), "gateway-0": Usage(1.0, 5)})
    assert growth(before, after) == {"redis": 3.0}


def test_numbers_are_read_with_commas_between_them() -> None:
    assert numbers("50,100.5") == (50.0, 100.5)
    for wrong in ("50;100", "", "0", "-1,5"):
        with pytest.raises(SettingsError, match="expected numbers"):
            numbers(wrong)


def test_a_peer_is_asked_as_its_template_says_for_the_newest_item_of_every_session(tmp_path: Path) -> None:
    template = tmp_path / "peer.toml"
    template.write_text('[recommendations]\nmethod = "GET"\npath = "/n?s={session_id}&i={item_id}"\nitems = "/*"\n')
    events = [{"session_id": "s", "item_id": "old"}, {"session_id": "s", "item_id": "new"}]
    asked = Asked((50.0,), 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, "http://127.0.0.1:9", template, 0.1)
    with peer_driven(Traffic([], events, ["s"]), asked) as peer:
        assert peer is not None
        assert b'"http://127.0.0.1:9/n?s=s&i=new"' in peer.targets.read_bytes()


FOUND = {
    "name": "18,000 items, <1> gateway",
    "sequential_p50": 1.25,
    "highest": 1800.0,
    "points": [_point(100.0, 9.0).as_json(), _point(1000.0, 14.0, answered=990).as_json()],
    "peer": [{**_point(100.0, 0.8).as_json(), "cpu_us": {}}],
    "clicks": {"rate": 500.0, "point": _point(500.0, 18.0).as_json(), "visible_p99": 41.0},
    "overload": {
        "rate": 3600.0, "sent": 10, "answered": 6, "refused": 4, "with_retry_after": 4, "errors": 0, "p99": 55.0,
        "normal_after_s": None,
    },
    "soak": {
        "rate": 300.0, "seconds": 3600.0, "growth": {"redis": 2.5}, "first_p99": 8.0, "last_p99": 8.5, "errors": 0,
    },
}  # fmt: skip


def test_the_rows_say_what_was_met() -> None:
    rows = {row.name: (row.value, row.met) for row in serving_rows([FOUND])}
    name = FOUND["name"]
    assert rows[f"{name}: highest rate with p99 < 50 ms"] == (1800.0, True)
    assert rows[f"{name}, 1000/s: lost or refused"] == (10.0, False)
    assert rows[f"{name}, 1000/s: processor time, all processes"] == (500.0, None)
    assert rows["peer, 100/s: p99 from intended time"] == (0.8, None)
    assert rows[f"{name}, 500/s beside 500 clicks/s: click to visible, p99"] == (41.0, True)
    assert rows[f"{name}: normal again after"] == (15.0, False)
    assert rows[f"{name}, soak: growth of redis"] == (2.5, True)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.charts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.fetched += [value for name in ("src", "href") if (value := found.get(name))]
        if found.get("class") == "chart":
            self.charts.append(found.get("aria-label") or "")


def test_the_page_stands_alone_and_draws_latency_and_cost_by_rate() -> None:
    page = serving_page({"configurations": [FOUND], "limit_ms": 50.0})
    tags = _Tags()
    tags.feed(page)
    assert tags.fetched == []
    assert [label.partition(":")[0] for label in tags.charts] == ["Latency by rate", "Processor time by rate"]
    assert "18,000 items, &lt;1&gt; gateway" in page
    assert "<1> gateway" not in page
    assert "1,800/s" in page
    assert "not normal again within 15 s" in page
    assert "no process grew more than 2.5%" in page
