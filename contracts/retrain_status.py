"""What training again and again says of itself: the last run, and when the next one is due."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["published", "kept", "refused", "skipped", "failed"]
"""`kept`: it passed and does not serve, as another version is pinned. `refused`: the gate let it not pass. `skipped`:
there were too few events.
"""
OUTCOMES: tuple[Outcome, ...] = ("published", "kept", "refused", "skipped", "failed")


class RetrainRun(BaseModel):
    """One run. `version` is the candidate's in the registry, None where there is none; `why` one sentence."""

    model_config = ConfigDict(frozen=True)
    began_ms: int = Field(ge=0)
    ended_ms: int = Field(ge=0)
    outcome: Outcome
    why: str = Field(default="", max_length=2000)
    version: str | None = None
    events: int | None = Field(default=None, ge=0)


class RetrainStatus(BaseModel):
    """`running_since_ms` is None while nothing is trained. `runs` counts runs by outcome."""

    model_config = ConfigDict(frozen=True)
    every_ms: int = Field(ge=0)
    next_ms: int = Field(ge=0)
    running_since_ms: int | None = None
    last: RetrainRun | None = None
    runs: dict[Outcome, int] = {}
