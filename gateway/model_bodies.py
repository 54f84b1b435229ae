"""Bodies of requests and answers about versions of the models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from registry.version import NAME_PATTERN, DataRange


class ModelFacts(BaseModel):
    """One version: what it was made of, and what it measured. One that is damaged has a name and `damaged` alone."""

    name: str
    damaged: str | None = Field(default=None, description="What is wrong with it.")
    made_ms: int | None = None
    by: str = ""
    note: str = ""
    parent: str | None = None
    code_version: str = ""
    session_model: str | None = None
    reranker: str | None = None
    bytes: int = 0
    settings: dict[str, Any] = {}
    data: DataRange = DataRange()
    figures: dict[str, float] = {}
    serving: bool = False
    previous: bool = False
    pinned: bool = False
    shadow: bool = Field(default=False, description="It answers beside the one that serves, and is not shown.")


class ShadowFacts(BaseModel):
    """The candidate in the shadow, and what all gateways found of it together.

    Figures are null where none was found yet; `answers` too while Redis does not say.
    """

    name: str
    share: float = Field(description="Of the answers, how many it is asked for too: above 0, 1 at most.")
    at_ms: int = Field(description="When it was put there, epoch milliseconds.")
    by: str
    answers: int | None = Field(default=None, description="Answers that were compared.")
    overlap_at_10: float | None = Field(default=None, description="Share of the first ten items that both have.")
    rank_correlation: float | None = Field(default=None, description="Spearman's, of the items on both pages.")
    score_difference: float | None = Field(
        default=None, description="Mean absolute difference of the scores of these items."
    )


class ModelChange(BaseModel):
    """One line of the history."""

    at_ms: int
    name: str
    before: str | None
    did: str
    by: str
    why: str


class ModelsAnswer(BaseModel):
    """Versions and changes, the newest first."""

    serving: str | None
    previous: str | None
    pinned: str | None
    shadow: ShadowFacts | None
    versions: list[ModelFacts]
    more: int = Field(description="Older versions that are not listed; `nextclick models list` has them.")
    history: list[ModelChange]


class ModelDecision(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    why: str = Field(min_length=1, max_length=500, description="Kept in the history.")
    serving: str | None = Field(
        default=None, pattern=NAME_PATTERN, description="The version that was seen to serve: 409 where another does."
    )


class ModelPin(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str | None = Field(pattern=NAME_PATTERN, description="The version; null lets others serve again.")
    why: str = Field(min_length=1, max_length=500, description="Kept in the history.")
