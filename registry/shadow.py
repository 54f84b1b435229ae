"""A candidate that answers beside what serves, for nobody to see: which version, and how much it is asked."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from registry.version import NAME_PATTERN

SHADOW: Final = "shadow.json"


class ShadowChoice(BaseModel):
    """`share` of the answers that the candidate is asked for too, 0 to 1."""

    model_config = ConfigDict(frozen=True)
    name: str = Field(pattern=NAME_PATTERN)
    share: float = Field(gt=0, le=1)
    at_ms: int = Field(default=0, ge=0)
    by: str = Field(default="", max_length=200)
