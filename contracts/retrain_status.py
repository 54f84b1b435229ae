"""Training again and again: what a run may come to, and what the stack that repeats it keeps of it."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["published", "passed", "refused", "skipped", "failed"]
"""`passed`: it may serve and does not: another version is pinned, it was not asked to, or it serves already. `refused`:
the gate did not let it pass. `skipped`: there were too few events.
"""
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
Whole = Annotated[int, Field(ge=0, le=2**53)]
"""What any JSON reader and every clock here can tell."""


class RetrainRun(BaseModel):
    """One run. `version` is the candidate's in the registry, None where there is none. `why` is one sentence."""

    model_config = ConfigDict(frozen=True)
    began_ms: Whole
    ended_ms: Whole
    outcome: Outcome
    why: str = Field(default="", max_length=2000)
    version: str | None = None
    events: Whole | None = None


class RetrainStatus(BaseModel):
    """The schedule. Times are epoch milliseconds; `running_since_ms` is None while nothing is trained. `runs` counts
    runs by outcome.
    """

    model_config = ConfigDict(frozen=True)
    every_ms: Whole
    next_ms: Whole
    running_since_ms: Whole | None = None
    last: RetrainRun | None = None
    runs: dict[Outcome, Whole] = {}
