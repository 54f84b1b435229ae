"""`nextclick evaluate policy`: a log and another policy in, estimates with intervals out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner, Result

from contracts.errors import ImportFormatError, SettingsError
from nextclick.cli import build_app

pytest.importorskip("pyarrow", reason="needs the experiments extra")


def run(*words: object) -> Result:
    return CliRunner().invoke(build_app(), ["evaluate", "policy", *map(str, words)])


def shown(*words: object) -> str:
    done = run(*words)
    if done.exception is not None:
        raise done.exception
    return done.output


def write_log(path: Path, chances: list[float], seed: int) -> Path:
    """4,000 rows of a policy over a, b and c, which earn 10%, 20% and 30%."""
    rng = np.random.default_rng(seed)
    action = rng.choice(3, 4000, p=chances)
    reward = rng.random(4000) < np.array([0.1, 0.2, 0.3])[action]
    lines = [
        f"{'abc'[one]},{int(won)},{chances[one]},{rng.random():.3f}" for one, won in zip(action, reward, strict=True)
    ]
    path.write_text("\n".join(["action,reward,propensity,hour", *lines]) + "\n")
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log.csv", [0.6, 0.3, 0.1], 1)


def test_the_estimates_stand_beside_what_was_earned(log: Path, tmp_path: Path) -> None:
    other, out = write_log(tmp_path / "other.csv", [0.1, 0.3, 0.6], 2), tmp_path / "found.json"
    text = shown(log, "--policy", other, "--context", "hour", "--out", out)
    assert "Reward a row, 4,000 rows worth 1," in text
    assert "holds what it earned" in text
    found = orjson.loads(out.read_bytes())
    assert [one["name"] for one in found["values"]] == ["ips", "snips", "dr"]
    assert all(one["low"] < 0.25 < one["high"] for one in found["values"])  # the truth
    assert found["own"]["value"] == pytest.approx(0.15, abs=0.015)
    assert found["others_own"]["value"] == pytest.approx(0.25, abs=0.015)


def test_policies_are_given_in_four_ways(log: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("action,probability\nc,1\n")
    assert "doubly robust" in shown(log, "--policy", "uniform", "--resamples", 0)
    assert "doubly robust" in shown(log, "--policy", table, "--resamples", 0)
    assert "doubly robust" not in shown(log, "--policy", "column:propensity", "--resamples", 0)


def test_what_cannot_be_believed_is_said(log: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("action,probability\nc,0.7\nd,0.3\n")
    text = shown(log, "--policy", table, "--resamples", 0)
    assert "30.0% of the policy's choices are actions that the log never made" in text
    log.write_text(log.read_text().replace(",0.1,", ",0.2,"))
    assert "the logged propensities are not those that the log was made with" in shown(log, "--policy", "uniform")
    log.write_text("action,reward,propensity\n" + "a,0,0.999\n" * 500 + "b,1,0.001\n")
    assert "Not to be believed: 501 rows are worth 2 here, the largest weight is 500." in shown(
        log, "--policy", "uniform"
    )


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (
            ["--policy", "unifrom"],
            SettingsError,
            "expected a --policy of uniform, column:NAME or a file, got 'unifrom'",
        ),
        (["--policy", "column:propensty"], ImportFormatError, "did you mean propensity?"),
        (["--policy", "uniform", "--context", "hours"], ImportFormatError, "did you mean hour?"),
        (["--policy", "none.csv"], FileNotFoundError, "none.csv"),
    ],
)
def test_what_cannot_be_evaluated_says_why(log: Path, words: list[str], error: type[Exception], said: str) -> None:
    done = run(log, *words)
    assert isinstance(done.exception, error)
    assert said in str(done.exception)
