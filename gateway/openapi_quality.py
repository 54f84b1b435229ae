"""The path of checks of the data in the OpenAPI document."""

from __future__ import annotations

from typing import Final

from gateway.openapi_parts import Json, json_of, operation, problems
from gateway.quality import FeatureDrift, QualityAnswer, QualityCheck

MODELS: Final = (QualityAnswer, QualityCheck, FeatureDrift)
_EXAMPLE: Final[Json] = {
    "state": "bad",
    "at_ms": 1767222000000,
    "running": True,
    "bots": 3,
    "checks": [
        {
            "name": "broken",
            "of": "",
            "state": "bad",
            "figure": 0.04,
            "threshold": 0.02,
            "says": "`nextclick dead-letters list` shows them with the reason: mend what writes them to the log.",
        }
    ],
    "drift": [{"name": "price", "psi": 0.31, "ks": 0.18}],
    "drift_pages": 240,
}


def quality_paths() -> Json:
    """Return the path of checks."""
    about = (
        "What is wrong with the data that comes in, and what to do: trackers that went silent, shares of broken, late, "
        "repeated and future events, clicks on unknown items, sessions that no human has, fields that items lack. "
        "Events are counted by the quality flow (`quality.run`). Looked at every 30 s at most. "
        "`drift` is how far features moved since training, as the process that answers saw it."
    )
    answers = {200: json_of(QualityAnswer, _EXAMPLE)} | problems(422, 503)
    return {"/api/quality": {"get": operation("Show checks of the data", "figures", answers, description=about)}}
