"""A training told to MLflow, here to its store of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from learning.tracking import TrackingFailed, track
from registry.version import DataRange, ModelVersion

VERSION = ModelVersion(
    name="20261129T091720-492fa668",
    made_ms=1_795_000_000_000,
    note="Worse: mrr 0.2 becomes 0.1.",
    parent="20261128T091720-492fa667",
    settings={"session_model": {"dim": 16}, "reranker": {"trees": 150}},
    data=DataRange(sources=["day.jsonl.zst"], events=12),
    figures={"mrr": 0.125, "pages": 800.0},
    files={},
)


@pytest.mark.slow
def test_settings_figures_data_and_ruling_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file:{tmp_path}/runs"
    run = track(uri, VERSION, passes=False)
    from mlflow import MlflowClient  # type: ignore[attr-defined]

    client = MlflowClient(tracking_uri=uri)
    found = client.get_run(run)
    assert found.info.run_name == VERSION.name
    assert (found.info.status, found.info.start_time) == ("FINISHED", VERSION.made_ms)
    assert found.data.params == {"session_model.dim": "16", "reranker.trees": "150"}
    assert found.data.metrics == {"mrr": 0.125, "pages": 800.0}
    told = {name: value for name, value in found.data.tags.items() if name.startswith("nextclick.")}
    assert told == {
        "nextclick.passes": "false",
        "nextclick.ruling": VERSION.note,
        "nextclick.parent": VERSION.parent,
        "nextclick.sources": "day.jsonl.zst",
        "nextclick.events": "12",
    }
    track(uri, VERSION, passes=True)
    [experiment] = [one for one in client.search_experiments() if one.name == "nextclick"]
    assert len(client.search_runs([experiment.experiment_id])) == 2


@pytest.mark.slow
def test_a_server_that_is_no_server_is_said_in_one_line() -> None:
    with pytest.raises(TrackingFailed, match=f"MLflow at what://ever did not take the run of {VERSION.name}: "):
        track("what://ever", VERSION, passes=True)
