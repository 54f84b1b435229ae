"""The serving benchmarks on a real stack, small and short."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from nextclick.bench.other_tools import VEGETA, NoTool, find_or_build
from nextclick.bench.profile import profile
from nextclick.bench.serving import serving

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(autouse=True)
def _vegeta() -> None:
    try:
        find_or_build(VEGETA)
    except NoTool as reason:
        pytest.skip(str(reason))


def test_a_profile_accounts_for_every_process_of_a_running_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    profile(items=500, sessions=50, rate=20.0, clicks=200.0, batch=50, seconds=3.0, idle=1.0, gateways=2, flames=False)
    report = orjson.loads((tmp_path / "build/bench/profile.json").read_bytes())
    rows = {row["name"]: row["value"] for row in report["rows"]}
    parts = {name.removeprefix("request: ") for name in rows if name.startswith("request: ")}
    assert {"redis", "items", "sessions", "trends", "gateway-0", "gateway-1", "load generator", "all"} <= parts
    assert rows["requests sent"] == 60
    assert rows["errors and refusals"] == 0
    assert rows["request: all"] > 100
    assert rows["stage: total"] > 0


def test_the_serving_bench_measures_two_gateways_clicks_overload_and_a_soak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = {"rates": "10,20", "items": "500", "sessions": 50, "gateways": "2", "seconds": 2.0, "precision": 0.5}
    beside = {"clicks": 20.0, "click_rate": 10.0, "overload": 2.0, "soak": 12.0, "soak_rate": 10.0}
    serving(**asked, **beside)  # type: ignore[arg-type]  # the options differ in kind
    report = orjson.loads((tmp_path / "build/bench/serving.json").read_bytes())
    rows = {row["name"]: row["value"] for row in report["rows"]}
    name = "500 items, 2 gateways"
    assert rows[f"{name}, 10/s: lost or refused"] == 0
    assert rows[f"{name}, 10/s: processor time, all processes"] > 100
    assert rows[f"{name}, 10/s beside 20 clicks/s: click to visible, p99"] > 0
    assert rows[f"{name}, soak: p99 of the last third"] > 0
    assert "500 items, 2 gateways" in (tmp_path / "build/bench/serving.html").read_text()
