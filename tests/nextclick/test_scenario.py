"""A scenario end to end: a real stack, real kills and stops while a recording plays, and nothing lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from eventlog.files import write_events
from nextclick.demo import ARTIFACTS
from nextclick.scenario_run import Surroundings, run_scenario
from replay.options import PlayOptions, Questions
from replay.pacer import FixedRate
from replay.report import report_page
from replay.scenario import Fault, Part, Scenario, StackPlan
from replay.synthetic import default_shop, shoppers
from retrieval.snapshot import read_pointer

FAULTS = (
    Fault(at_s=1.0, do="kill", what=Part.SESSIONS),
    Fault(at_s=2.0, do="stop", what=Part.REDIS, for_s=0.7),
    Fault(at_s=4.0, do="kill", what=Part.REDIS),
    Fault(at_s=4.5, do="swap"),
    Fault(at_s=5.5, do="stock", top=20),
    Fault(at_s=6.0, do="restart", what=Part.GATEWAY),
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "shop.jsonl.zst"
    visits = shoppers(default_shop(), 300, np.random.default_rng(3), start_ms=1_700_000_000_000, span_ms=600_000)
    write_events(path, visits)
    return path


def test_nothing_is_lost_whatever_is_killed_while_a_recording_plays(recording: Path, tmp_path: Path) -> None:
    scenario = Scenario(name="short", stack=StackPlan(session_workers=2), fault=FAULTS)
    options = PlayOptions(recording, pace=FixedRate(120), events=960, questions=Questions(share=0.2, baselines=False))
    said: list[str] = []
    surroundings = Surroundings(tmp_path / "stack", artifacts=str(ARTIFACTS))
    result = run_scenario(scenario, options, surroundings, told=said.append)
    assert result.held, [(check.name, check.detail) for check in result.checks]
    assert (result.played.accepted, result.played.lost) == (960, 0)
    assert [check.name for check in result.checks if not check.held] == []
    assert [mark["name"] for mark in result.marks] == [fault.name for fault in FAULTS]
    for mark, fault in zip(result.marks, FAULTS, strict=True):
        assert fault.at_s <= mark["at_s"] < fault.at_s + 1.0
    stop = result.marks[1]
    assert 0.6 <= stop["until_s"] - stop["at_s"] <= 1.5
    assert result.played.latency.max >= 300.0  # the stall is in the figures
    assert read_pointer(tmp_path / "stack" / "index").current is not None
    document = orjson.loads(orjson.dumps(result.as_json()))
    assert [check["held"] for check in document["checks"]] == [True] * len(document["checks"])
    page = report_page(document)
    assert all(fault.name in page for fault in FAULTS)
    assert "accepted = applied + dead-lettered" in page
