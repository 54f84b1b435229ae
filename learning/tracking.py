"""A training told to MLflow: its settings, figures, data and ruling, beside the registry that keeps the models."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Final

from contracts.errors import NextclickError, SettingsError
from contracts.masked import masked
from registry.version import ModelVersion

EXPERIMENT: Final = "nextclick"
LONGEST: Final = 500
"""Characters of a parameter or a tag."""


class TrackingFailed(NextclickError):
    """A training cannot be told to MLflow; its version is kept all the same."""


def track(uri: str, version: ModelVersion, *, passes: bool) -> str:
    """Write one run to the tracking server, or folder (`file:...`), that `uri` names; returns the run's id.

    Raises SettingsError without mlflow, TrackingFailed where the server does not take it.
    """
    expect_tracking()
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known is not None else client.create_experiment(EXPERIMENT)
        tags = {name: value for name, value in _tags(version, passes).items() if value}
        run: str = client.create_run(
            experiment, start_time=version.made_ms, run_name=version.name, tags=tags
        ).info.run_id
        for name, value in _flat(version.settings).items():
            client.log_param(run, name, value[:LONGEST])
        for name, figure in version.figures.items():
            client.log_metric(run, name, figure, timestamp=version.made_ms)
        client.set_terminated(run, "FINISHED")
    except Exception as error:  # whatever MLflow and its transports raise
        said = " ".join(str(error).split())[:300]
        why = f"MLflow at {masked(uri)} did not take the run of {version.name}: {masked(said)}"
        raise TrackingFailed(why) from error
    return run


def expect_tracking() -> None:
    """Raise SettingsError without mlflow: before anything is trained. Its telemetry is off."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer releases ask for it
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise SettingsError("expected mlflow, which the `mlflow` extra brings: pip install '.[mlflow]'") from error


def _tags(version: ModelVersion, passes: bool) -> dict[str, str]:
    data = version.data
    told = {
        "passes": str(passes).lower(),
        "ruling": version.note[:LONGEST],
        "parent": version.parent or "",
        "session_model": version.session_model or "",
        "reranker": version.reranker or "",
        "code_version": version.code_version,
        "by": version.by,
        "sources": ", ".join(data.sources)[:LONGEST],
        "first_ms": str(data.first_ms or ""),
        "last_ms": str(data.last_ms or ""),
        "events": str(data.events or ""),
    }
    return {f"nextclick.{name}": value for name, value in told.items()}


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[above + name] = str(value)
    return found
