"""Training again and again: what a run may come to, and what the stack that repeats it keeps of it."""

from __future__ import annotations

from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["published", "passed", "refused", "skipped", "failed"]
"""`passed`: it may serve and does not: another version is pinned, it was not asked to, or it serves already. `refused`:
the gate did not let it pass. `skipped`: there were too few events.
"""
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)


class RetrainRun(BaseModel):
    """One run. `version` is the candidate's in the registry, None where there is none. `why` is one sentence."""

    model_config = ConfigDict(frozen=True)
    began_ms: int = Field(ge=0)
    ended_ms: int = Field(ge=0)
    outcome: Outcome
    why: str = Field(default="", max_length=2000)
    version: str | None = None
    events: int | None = Field(default=None, ge=0)


class RetrainStatus(BaseModel):
    """The schedule. Times are epoch milliseconds; `running_since_ms` is None while nothing is trained. `runs` counts
    runs by outcome.
    """

    model_config = ConfigDict(frozen=True)
    every_ms: int = Field(ge=0)
    next_ms: int = Field(ge=0)
    running_since_ms: int | None = None
    last: RetrainRun | None = None
    runs: dict[Outcome, int] = {}
