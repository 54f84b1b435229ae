"""What Redis keeps of retraining: whatever is there makes a status whose numbers a scrape can tell, or none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest
from pydantic import ValidationError

from contracts.retrain_status import RetrainStatus
from gateway.retrain_figures import figures

RUN = {"began_ms": 1, "ended_ms": 2, "outcome": "failed", "events": 3}
GOOD: dict[str, Any] = {"every_ms": 1, "next_ms": 2, "running_since_ms": 3, "last": RUN, "runs": {"failed": 4}}


class Shown:
    def __init__(self, status: RetrainStatus) -> None:
        self.status = status

    def collect(self) -> Any:
        return figures(self.status)


def test_a_status_is_told_to_a_scrape() -> None:
    told = generate_latest(Shown(RetrainStatus.model_validate(GOOD))).decode()
    assert 'nextclick_gateway_retrain_runs_total{outcome="failed"} 4.0' in told


@pytest.mark.parametrize("number", [10**400, 2**64, 2**53 + 1, -1])
@pytest.mark.parametrize(
    "place", ["every_ms", "next_ms", "running_since_ms", "runs/failed", "last/began_ms", "last/ended_ms", "last/events"]
)
def test_a_number_that_nothing_can_tell_makes_it_none(place: str, number: int) -> None:
    outer, _, inner = place.partition("/")
    damaged = {**GOOD, outer: {**GOOD[outer], inner: number} if inner else number}
    with pytest.raises(ValidationError):
        RetrainStatus.model_validate_json(json.dumps(damaged))
