"""What a bandit and an interleaved experiment logged, from recorded events to a policy's worth and a preference."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from contracts.assignment import drawn
from contracts.errors import SettingsError
from eventlog.files import write_events
from nextclick.cli import build_app

pytest.importorskip("pyarrow", reason="needs the experiments extra")

NOW = 1_700_000_000_000
TRUTH = {("phone", "control"): 0.10, ("phone", "b"): 0.30, ("desktop", "control"): 0.20, ("desktop", "b"): 0.20}


def run(*words: object) -> Result:
    return CliRunner().invoke(build_app(), list(map(str, words)), env={"COLUMNS": "200"})


def shown(*words: object) -> str:
    done = run(*words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def page_of(number: int, context: dict[str, Any]) -> dict[str, Any]:
    own = {"v": 1, "event_id": f"impression-r{number}", "type": "impression", "request_id": f"r{number}"}
    place = {"placement": "homepage", "experiment": "x", "returning": False, **context}
    items = [f"i{at}" for at in range(4)]
    return {**own, "session_id": f"s{number}", "ts": NOW + 1000 * number, "items": items, "context": place}


def click_of(number: int, item_id: str) -> dict[str, Any]:
    own = {"v": 1, "event_id": f"click-{number}-{item_id}", "type": "view", "item_id": item_id}
    return {**own, "session_id": f"s{number}", "ts": NOW + 1000 * number + 500, "request_id": f"r{number}"}


def drawn_events(count: int) -> Iterator[dict[str, Any]]:
    """Yield what a bandit logs whose shares move from even to 4 in 5 for b."""
    rng = random.Random(5)
    for number in range(count):
        shares = (0.5, 0.5) if number < count // 2 else (0.2, 0.8)
        at, device = drawn("x", f"s{number}", shares), rng.choice(["phone", "desktop"])
        variant = ("control", "b")[at]
        yield page_of(number, {"variant": variant, "propensity": shares[at], "device": device})
        if rng.random() < TRUTH[device, variant]:
            yield click_of(number, "i0")


def test_a_bandits_log_says_what_another_policy_would_have_earned(tmp_path: Path) -> None:
    recording, log, policy = tmp_path / "shop.jsonl.zst", tmp_path / "log.csv", tmp_path / "always-b.csv"
    write_events(recording, drawn_events(4000))
    said = shown("experiment", "bandit-log", "x", "--out", log, "--recording", recording)
    assert f"{log}: 4,000 pages; b 2,558 (650 clicked), control 1,442" in said
    assert f"nextclick evaluate policy {log} --policy uniform" in said
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert {(row["action"], row["propensity"]) for row in rows} == {
        ("control", "0.5"), ("b", "0.5"), ("control", "0.2"), ("b", "0.8"),
    }  # fmt: skip
    for name, text, truth in (("b", "b,1\n", 0.25), ("control", "control,1\n", 0.15)):
        policy.write_text(f"action,probability\n{text}")
        out = tmp_path / f"{name}.json"
        words = ["--policy", policy, "--context", "device", "--unit", "unit", "--resamples", 0, "--out", out]
        shown("evaluate", "policy", log, *words)
        values = {one["name"]: one for one in orjson.loads(out.read_bytes())["values"]}
        for value in values.values():
            assert value["low"] < truth < value["high"], (name, value)
        assert values["dr"]["high"] - values["dr"]["low"] < 0.06


def mixed_events(count: int) -> Iterator[dict[str, Any]]:
    """Yield what an interleaved experiment logs whose b is clicked 3 times of 4."""
    rng = random.Random(6)
    for number in range(count):
        teams = rng.choice([[0, 1, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0], [1, 0, 1, 0]])
        yield page_of(number, {"variant": "interleaved", "between": ["control", "b"], "teams": teams})
        if rng.random() < 0.4:
            yield click_of(number, f"i{teams.index(int(rng.random() < 0.75))}")


@pytest.mark.slow
def test_interleaved_units_say_which_variant_is_preferred(tmp_path: Path) -> None:
    recording, units, out = tmp_path / "shop.jsonl.zst", tmp_path / "units.csv", tmp_path / "report.json"
    write_events(recording, mixed_events(600))
    said = shown("experiment", "units", "x", "--out", units, "--recording", recording)
    assert said.splitlines()[-1] == f"nextclick experiment report {units}"
    rows = list(csv.DictReader(units.read_text().splitlines()))
    assert {(row["variant"], row["first"], row["second"]) for row in rows} == {("interleaved", "control", "b")}
    assert {row["credit"] for row in rows} == {"-1", "0", "1"}
    told = shown("experiment", "report", units, "--planned", 600, "--out", out)
    assert told.startswith("b is preferred to control: mean credit +0.")
    written = orjson.loads(out.read_bytes())
    assert (written["decision"], written["preference"]["second"]) == (told.strip(), "b")


def test_an_experiment_that_drew_nobody_has_no_log(tmp_path: Path) -> None:
    recording = tmp_path / "shop.jsonl.zst"
    write_events(recording, [page_of(1, {"variant": "b"})])
    done = run("experiment", "bandit-log", "x", "--out", tmp_path / "log.csv", "--recording", recording)
    assert done.exit_code == 1
    assert "No page of this experiment in the log says with which probability it was drawn." in done.output
    with pytest.raises(SettingsError, match="session or user"):
        shown("experiment", "bandit-log", "x", "--out", tmp_path / "log.csv", "--unit", "shop")
