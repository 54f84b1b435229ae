"""The shares that the units of an experiment should hold. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.assignment import buckets_of
from contracts.experiments import ExperimentVersion


def expected_shares(version: ExperimentVersion, versions: Iterable[ExperimentVersion]) -> list[float] | None:
    """Return each variant's share, in order; None where units hold none: shares were changed since the experiment
    began, or change all the time (a bandit's).

    versions: all of the experiment that are kept.
    """
    own = _buckets(version)
    run = [one for one in versions if one.started_ms == version.started_ms]
    if version.experiment.allocation is not None or min(own.values()) == 0 or any(_buckets(one) != own for one in run):
        return None
    return [float(own[variant.name]) for variant in version.experiment.variants]


def _buckets(version: ExperimentVersion) -> dict[str, int]:
    return {one.name: len(buckets_of(version.buckets.get(one.name, "0"))) for one in version.experiment.variants}
