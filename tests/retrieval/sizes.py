"""Sizes of the candidate sources, for tests that ask some of them."""

from __future__ import annotations

from retrieval.sources import SourceSettings


def only(**sizes: int) -> SourceSettings:
    """Return settings that ask for nothing but what is named."""
    return SourceSettings(**{**dict.fromkeys(SourceSettings.model_fields, 0), **sizes})
