"""The experiment paths of the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from contracts.experiment_reports import ExperimentReport
from contracts.experiments import Experiment, Variant
from contracts.scenarios import NAME_PATTERN
from gateway.experiment_bodies import ExperimentAnswer, ExperimentsAnswer, Promotion, ReportedAnswer, Stop
from gateway.openapi_parts import Json, body_of, json_of, operation, path_parameter, problems, ref
from gateway.scenario_pages import PublishedAnswer, Rollback

MODELS: Final = (
    *(Experiment, Variant, ExperimentAnswer, ExperimentsAnswer, ReportedAnswer, ExperimentReport, Stop, Promotion),
)

EXPERIMENT: Final[Json] = {
    "scenario": "homepage",
    "variants": [
        {"name": "control", "share": 0.5},
        {"name": "margin", "share": 0.5, "patch": {"value": {"match": 1, "margin": 0.1}}},
    ],
    "metric": "clicks/pages",
}
_DONE: Final[Json] = {"name": "margin-first", "version": 1, "visible": True}
NAME: Final = path_parameter("experiment", {"type": "string", "pattern": NAME_PATTERN})
_WRITE = (400, 403, 408, 413, 415, 422, 503, 507)


def experiment_paths() -> Json:
    """Return the paths of experiments."""
    under = "/api/experiments/{experiment}"
    return {
        "/api/experiments": {"get": _operation("List experiments", {200: json_of(ExperimentsAnswer)})},
        under: {
            "get": _operation("Show an experiment", {200: json_of(ReportedAnswer)} | problems(404, 422), named=True),
            "put": _operation(
                "Publish an experiment",
                {200: json_of(PublishedAnswer, _DONE)} | problems(409, *_WRITE),
                "The first variant is the control. A unit stays in its variant while shares grow. 422 points at all "
                "that is wrong, and nothing is changed. `visible: true`: no process assigns by an older version.",
                named=True,
                requestBody=body_of({"application/json": {"schema": ref(Experiment), "example": EXPERIMENT}}),
            ),
            "delete": _operation(
                "Delete an experiment", {200: json_of(PublishedAnswer)} | problems(403, 404, 422, 503), named=True
            ),
        },
        f"{under}/versions": {
            "get": _operation(
                "List the versions of an experiment",
                {200: json_of(ExperimentsAnswer)} | problems(404, 422, 503),
                named=True,
            )
        },
        f"{under}/rollback": {
            "post": _operation(
                "Go back to an older version of an experiment",
                {200: json_of(PublishedAnswer, _DONE)} | problems(404, 409, *_WRITE),
                named=True,
                requestBody=body_of({"application/json": {"schema": ref(Rollback), "example": {"version": 2}}}),
            )
        },
        f"{under}/stop": {
            "post": _operation(
                "Stop an experiment",
                {200: json_of(PublishedAnswer, _DONE)} | problems(404, 409, *_WRITE),
                "Everybody gets the scenario as it is published. A stopped experiment that is put again begins anew.",
                named=True,
                requestBody=body_of({"application/json": {"schema": ref(Stop), "example": {"why": "no effect"}}}),
            )
        },
        f"{under}/promote": {
            "post": _operation(
                "Make a variant the scenario",
                {200: json_of(PublishedAnswer, _DONE)} | problems(404, 409, *_WRITE),
                "The variant is published as a new version of the scenario, and the experiment is stopped. "
                "`POST /api/scenarios/{scenario}/rollback` takes it back.",
                named=True,
                requestBody=body_of({"application/json": {"schema": ref(Promotion), "example": {"variant": "margin"}}}),
            )
        },
    }


def _operation(
    summary: str, answers: dict[int, Json], about: str | None = None, *, named: bool = False, **more: Any
) -> Json:
    if about is not None:
        more["description"] = about
    if named:
        more["parameters"] = [NAME]
    return operation(summary, "experiments", answers, **more)
