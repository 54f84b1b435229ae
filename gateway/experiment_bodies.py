"""Bodies of requests and answers about experiments."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from contracts.experiment_reports import ExperimentReport, Verdict
from contracts.experiments import Experiment, ExperimentName, VariantName


class ExperimentAnswer(BaseModel):
    """One experiment as it is published. `state`: planned, running, ended (its dates are over), stopped."""

    name: str
    version: int = Field(ge=1)
    published_ms: int
    started_ms: int
    by: str | None = None
    state: str
    stopped_ms: int | None = None
    why: str | None = None
    promoted: str | None = None
    verdict: Verdict | None = Field(default=None, description="What the newest report supports; not of versions.")
    decision: str | None = Field(default=None, description="The same as a sentence.")
    experiment: Experiment


class ReportedAnswer(ExperimentAnswer):
    """One experiment, and the judge's newest report of it; null where there is none."""

    report: ExperimentReport | None = None
    shares: dict[str, dict[str, float]] | None = Field(
        default=None,
        description="By what a bandit is drawn: by kind of visitor (empty: all others) the share of each variant.",
    )


class ExperimentsAnswer(BaseModel):
    experiments: list[ExperimentAnswer]


class Stop(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    why: str | None = Field(default=None, max_length=500)
    version: int | None = Field(default=None, ge=1, description="The version that is decided about: 409 for another.")
    by: ExperimentName | None = Field(default=None, description="A program that decided; the key is shown beside it.")


class Promotion(Stop):
    variant: VariantName = Field(description="What the scenario is from now on.")
