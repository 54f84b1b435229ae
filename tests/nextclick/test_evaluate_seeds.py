"""Several seeds: rows of every run as mean and spread, and one run as it was."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from evaluation.next_item import Interval, NextItemMetrics
from learning.evaluate_next_item import Row
from learning.seeds import spreads
from tests.nextclick.test_evaluate import lines, typed


def row(name: str, mrr: float) -> Row:
    figure = Interval(mrr, 0.0, 1.0)
    figures = NextItemMetrics(9, figure, figure, figure, 0.0, 0.0, 0.0)
    return Row(name, figures, figures, (0.0, 0.0))


def test_rows_of_every_run_have_a_mean_and_a_deviation() -> None:
    runs = [[row("popularity", 0.1), row("encoder", 0.2)], [row("encoder", 0.3)], [row("encoder", 0.4)]]
    [found] = spreads(runs, "all")
    assert found.name == "encoder"
    assert found.values["mrr"] == [0.2, 0.3, 0.4]
    assert found.mean("mrr") == pytest.approx(0.3)
    assert found.deviation("mrr") == pytest.approx(0.1)


def test_one_run_has_no_deviation() -> None:
    [found] = spreads([[row("encoder", 0.2)]], "all")
    assert found.deviation("mrr") == 0.0


@pytest.mark.torch
def test_the_command_trains_once_a_seed(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    train, test = lines(tmp_path / "train.txt", 500), lines(tmp_path / "test.txt", 40, seed=8)
    out, kept = tmp_path / "found.json", tmp_path / "artifacts"
    options = ("--dim", "8", "--limit-cases", "50", "--seeds", "2", "--out", out, "--artifacts", kept)
    shown = typed("next-item", "--train", train, "--test", test, *options)
    assert "mean and standard deviation of seeds 1, 2" in shown
    found = orjson.loads(out.read_bytes())
    runs = [one for one in found["runs"] if one["cases"] == "all"]
    assert [one["name"] for one in runs] == ["session encoder, exact", "session encoder, usearch", "full pipeline"]
    first = {one["name"]: one["all"]["mrr"]["value"] for one in found["rows"]}
    assert all(one["values"]["mrr"][0] == first[one["name"]] for one in runs)
    manifests = [orjson.loads((kept / f"seed-{seed}/session_model/manifest.json").read_bytes()) for seed in (1, 2)]
    assert manifests[0]["version"] != manifests[1]["version"]
