"""`nextclick experiment simulate`: a recording in, a certificate out, and an exit status that a script can ask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.errors import ImportFormatError, SettingsError
from eventlog.files import write_events
from tests.nextclick.test_experiment import run

pytest.importorskip("tea_tasting", reason="needs the experiments extra")

DOCUMENT = {
    "scenario": "homepage",
    "unit": "user",
    "metric": "orders",
    "variants": [{"name": "control", "share": 0.5}, {"name": "margin", "share": 0.4, "patch": {"bury": ["a"]}}],
    "segment": 'context.device == "phone"',
}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """1,200 users of two days; 400 of them buy, one for much."""
    return written(tmp_path, lambda n: 40_000.0 if n == 3 else float(n % 7 + 1))


def written(folder: Path, worth: Callable[[int], float]) -> Path:
    events: list[dict[str, Any]] = []
    for n in range(1200):
        of = {"v": 1, "session_id": f"s{n}", "user_id": f"u{n}", "item_id": "a", "ts": 1_790_000_000_000 + n * 120_000}
        events.append({**of, "event_id": f"v{n}", "type": "view"})
        if n % 3 == 0:
            events.append({**of, "event_id": f"p{n}", "type": "purchase", "value": worth(n), "currency": "EUR"})
    path = folder / "log.jsonl.zst"
    write_events(path, events)
    return path


def test_a_document_is_certified_for_its_own_unit_and_metric(recording: Path, tmp_path: Path) -> None:
    document, out = tmp_path / "margin-first.json", tmp_path / "certificate.json"
    document.write_bytes(orjson.dumps(DOCUMENT))
    words = ("--experiment", document, "--runs", 40, "--lift", 1.0, "--out", out)
    done = run("simulate", recording, *words)
    assert done.exit_code == 0, done.output
    assert "1,200 users of 2 days" in done.output
    assert "The segment is not asked: all recorded units take part." in done.output
    assert "by the name margin-first" in done.output
    assert done.output.splitlines()[-1].startswith("Certified: 40 experiments without effect on 1,200 units of 2 days")
    told = orjson.loads(out.read_bytes())
    assert (told["wrong"], told["recorded"]) == (
        [],
        {"views": 1200.0, "purchases": 400.0, "orders": 400.0, "revenue": 41_593.0},
    )
    assert told["certificate"]["setup"]["shares"] == {"control": 0.5, "margin": 0.4}
    assert told["certificate"]["setup"]["layer"] == "of homepage"
    assert [one["metric"] for one in told["certificate"]["metrics"]] == ["orders"]


def test_what_is_wrong_is_the_last_line_and_the_exit_status(recording: Path) -> None:
    words = ("--metric", "revenue", "--runs", 20, "--lift", 0.1)
    done = run("simulate", recording, *words)
    assert done.exit_code == 1
    said = "Not certified: one unit makes 96.2% of revenue: cap it (--cap revenue=0.99)."
    assert done.output.splitlines()[-1] == said
    done = run("simulate", recording, *words, "--cap", "revenue=0.99")
    assert done.exit_code == 0, done.output
    assert "capped at" in done.output


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--metric", "clicks/pages"], SettingsError, "expected what the recording has, views, purchases, orders"),
        (["--shares", "0.9,0.9"], SettingsError, "--shares: expected 2 to 10 shares of at most 1 together"),
        (["--shares", "half"], SettingsError, "got 'half'"),
        (["--unit", "page"], SettingsError, "expected --unit session or user, got 'page'"),
        (["--lift", "-1"], SettingsError, "expected lifts above -1 other than 0"),
    ],
)
def test_what_cannot_be_simulated_says_why(
    recording: Path, words: list[str], error: type[Exception], said: str
) -> None:
    done = run("simulate", recording, "--runs", 20, *words)
    assert isinstance(done.exception, error)
    assert said in str(done.exception)


def test_a_document_that_is_none_is_named_with_the_place(recording: Path, tmp_path: Path) -> None:
    document = tmp_path / "x.json"
    document.write_bytes(orjson.dumps({**DOCUMENT, "unit": "page"}))
    done = run("simulate", recording, "--experiment", document)
    assert isinstance(done.exception, ImportFormatError)
    assert "x.json: /unit: Input should be 'session' or 'user'" in str(done.exception)
