"""The paths of the OpenFeature remote evaluation protocol in the OpenAPI document."""

from __future__ import annotations

from typing import Final

from gateway.ofrep import FlagAnswer, FlagError, FlagRequest, FlagsAnswer
from gateway.openapi_parts import Json, body_of, json_of, operation, path_parameter, problems, ref

MODELS: Final = (FlagRequest, FlagAnswer, FlagError, FlagsAnswer)
_ASKED: Final[Json] = {"context": {"targetingKey": "s-42", "device": "phone"}}
_ANSWER: Final[Json] = {
    "key": "margin-first",
    "value": "margin",
    "variant": "margin",
    "reason": "SPLIT",
    "metadata": {"scenario": "homepage", "version": 1},
}
_TAG: Final[Json] = {"ETag": {"description": "For `If-None-Match`.", "schema": {"type": "string"}}}


def ofrep_paths() -> Json:
    """Return the paths of the protocol."""
    path = "/ofrep/v1/evaluate/flags"
    others = problems(403, 408, 413, 415, 503)
    body = body_of({"application/json": {"schema": ref(FlagRequest), "example": _ASKED}})
    wrong = json_of(FlagError, description="The body, its context or the targeting key is not what it should be.")
    one = {
        200: json_of(FlagAnswer, _ANSWER),
        400: wrong,
        404: json_of(FlagError, description="There is no such experiment."),
    }
    known = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}, "description": "The ETag known."}
    every = {
        200: {**json_of(FlagsAnswer, {"flags": [_ANSWER]}), "headers": _TAG},
        304: {"description": "Nothing has changed since `If-None-Match`.", "headers": _TAG},
        400: wrong,
    }
    about = (
        "The OpenFeature remote evaluation protocol. A flag is an experiment, its value the name of the variant that "
        "recommendations answer this unit by; without `value` the unit is in none."
    )
    return {
        f"{path}/{{key}}": {
            "post": operation(
                "Say which variant a unit gets",
                "experiments",
                one | others,
                description=about,
                parameters=[path_parameter("key", {"type": "string", "maxLength": 200})],
                requestBody=body,
            )
        },
        path: {
            "post": operation(
                "Say which variant a unit gets of each experiment",
                "experiments",
                every | others,
                description=about,
                parameters=[known],
                requestBody=body,
            )
        },
    }
