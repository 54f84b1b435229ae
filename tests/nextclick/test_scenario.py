"""A scenario end to end: a real stack, real kills and stops while a recording plays, and nothing lost."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path

import numpy as np
import orjson
import pytest

from contracts.errors import SettingsError
from eventlog.files import write_events
from nextclick.stack.scenario_faults import Faults
from nextclick.stack.scenario_run import Surroundings, run_scenario
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.engine.options import PlayOptions, Questions
from replay.engine.pacer import FixedRate
from replay.engine.scenario import Fault, Part, Scenario, StackPlan
from replay.report.page import report_page
from replay.synthetic.shoppers import default_shop, shoppers
from retrieval.snapshot import read_pointer
from tests.kafka_broker import KafkaBroker

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


@pytest.mark.slow
def test_nothing_is_lost_whatever_is_killed_while_a_recording_plays(recording: Path, tmp_path: Path) -> None:
    scenario = Scenario(name="short", stack=StackPlan(session_workers=2), fault=FAULTS)
    options = PlayOptions(recording, pace=FixedRate(120), events=960, questions=Questions(share=0.2, baselines=False))
    said: list[str] = []
    surroundings = Surroundings(tmp_path / "stack", artifacts=ARTIFACTS)
    result = run_scenario(scenario, options, surroundings, tell=said.append)
    assert result.held, [(check.name, check.detail) for check in result.checks]
    assert (result.played.accepted, result.played.lost) == (960, 0)
    assert [check.name for check in result.checks if not check.held] == []
    assert [mark["name"] for mark in result.marks] == [fault.name for fault in FAULTS]
    for mark, fault in zip(result.marks, FAULTS, strict=True):
        assert fault.at_s <= mark["at_s"]
    stop = result.marks[1]
    assert stop["until_s"] - stop["at_s"] >= 0.69
    assert result.played.latency.max >= 300.0  # the stall is in the figures
    assert read_pointer(tmp_path / "stack" / "index").current is not None
    document = orjson.loads(orjson.dumps(result.as_json()))
    assert [check["held"] for check in document["checks"]] == [True] * len(document["checks"])
    page = report_page(document)
    assert all(fault.name in page for fault in FAULTS)
    assert "accepted = applied + dead-lettered" in page


@pytest.mark.slow
def test_a_kafka_broker_that_stands_still_loses_nothing(
    recording: Path, tmp_path: Path, kafka_broker: KafkaBroker | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kafka_broker is None:
        pytest.skip("the broker that NEXTCLICK_KAFKA names is not ours to stop")
    monkeypatch.setenv("NEXTCLICK_LOG__KIND", "kafka")
    monkeypatch.setenv("NEXTCLICK_LOG__KAFKA", kafka_broker.address)
    monkeypatch.setenv("NEXTCLICK_LOG__TOPIC_PREFIX", f"t{uuid.uuid4().hex[:12]}.")
    scenario = Scenario(name="broker", fault=(Fault(at_s=1.0, do="stop", what=Part.BROKER, for_s=2.0),))
    options = PlayOptions(recording, pace=FixedRate(60), events=300)
    result = run_scenario(scenario, options, Surroundings(tmp_path / "stack", broker_pid=kafka_broker.pid))
    assert result.held, [(check.name, check.detail) for check in result.checks]
    assert (result.played.accepted, result.played.lost) == (300, 0)
    assert result.played.latency.max >= 1000.0  # events waited for the broker


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(at_s=0.1, do="stop", what=Part.BROKER, for_s=2.0), "name the broker's process with --broker-pid"),
        (Fault(at_s=0.1, do="swap"), "an index needs a trained model: name its folder with --artifacts"),
        (Fault(at_s=3.0, do="kill", what=Part.ITEMS), "kill items at 3 s: the run is over after 1 s: play more events"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_starts(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, said: str
) -> None:
    monkeypatch.setenv("NEXTCLICK_LOG__KIND", "kafka")
    options = PlayOptions(recording, pace=FixedRate(10), events=12)
    told: list[str] = []
    with pytest.raises(SettingsError, match=re.escape(said)):
        run_scenario(Scenario(name="x", fault=(fault,)), options, Surroundings(tmp_path / "stack"), tell=told.append)
    assert (told, (tmp_path / "stack").exists()) == ([], False)


def test_a_fault_that_fails_for_whatever_reason_leaves_the_ones_after_it(recording: Path, tmp_path: Path) -> None:
    faults = tuple(Fault(at_s=0.1 + n / 10, do="kill", what=Part.ITEMS) for n in range(3))
    never_started = Stack(StackSettings(stack=StackOptions(port=0, folder=tmp_path)))  # has no process to kill
    doing = Faults(Scenario(name="x", fault=faults), never_started, recording, None, lambda text: None)
    doing.begin(0.0)
    time.sleep(0.6)
    doing.finish()
    assert [(check.name, check.held) for check in doing.checks[:3]] == [(fault.name, False) for fault in faults]
    assert len(doing.marks) == 3


def test_a_broker_that_is_not_there_is_said_too(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTCLICK_LOG__KIND", "kafka")
    scenario = Scenario(name="x", fault=(Fault(at_s=0.1, do="kill", what=Part.BROKER),))
    with pytest.raises(SettingsError, match="there is no such process"):
        run_scenario(scenario, PlayOptions(recording), Surroundings(tmp_path / "stack", broker_pid=2**31 - 1))
