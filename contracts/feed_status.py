"""What is known of feeds: how pulls went, and what whoever pulls them tells gateways."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["applied", "unchanged", "held", "failed", "waiting"]
"""`held`: until somebody confirms it. `waiting`: the gateway does not take all of it now; the rest follows."""
Count = Annotated[int, Field(ge=0, le=2**53)]


class FeedPull(BaseModel):
    """How a pull went. Counts are of items; `bytes`: as they came. `readings`: prices by how they were read."""

    model_config = ConfigDict(frozen=True)
    began_ms: Count
    ended_ms: Count
    outcome: Outcome
    why: str = ""
    found: Count = 0
    put: Count = 0
    stock: Count = 0
    deleted: Count = 0
    same: Count = 0
    repeated: Count = 0
    left_out: Count = 0
    noted: Count = 0
    refused: Count = 0
    bytes: Count = 0
    encodings: str = ""
    readings: dict[str, Count] = {}


class FeedFault(BaseModel):
    """What was wrong in a line of a feed. `line` 0: the gateway refused the item."""

    model_config = ConfigDict(frozen=True)
    line: int
    page: int = 1
    item_id: str | None = None
    left_out: bool = Field(description="The item was not taken; otherwise it was, and this is to be known of it.")
    reason: str


class FeedStatus(BaseModel):
    """One feed. Secrets of its address are masked. `pulls`: the newest first."""

    model_config = ConfigDict(frozen=True)
    name: str
    source: str
    format: str
    every_s: float
    next_ms: Count = Field(description="When it is pulled next; 0: at once.")
    running: bool
    well_ms: Count = Field(description="When it was applied last, or was as it had been; 0: never.")
    pulls: tuple[FeedPull, ...]
    faults: tuple[FeedFault, ...] = Field(description="Of the last pull that read anything, the first of them.")


class FeedsStatus(BaseModel):
    """All feeds that one schedule pulls, as it saw them at `at_ms`."""

    model_config = ConfigDict(frozen=True)
    at_ms: Count
    feeds: tuple[FeedStatus, ...] = ()
