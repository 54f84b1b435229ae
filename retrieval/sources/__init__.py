"""The candidate sources: one list, and what it is made of.

A source is a file of this package: its settings (`Sizes`), the numbers that it leaves beside each candidate
(`Numbers`), and `SOURCE`. It is named here in an import and three lists; what is forgotten fails at import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from contracts.settings import Group
from retrieval.sources import bought_together, covisitation, given, nearest, new, own, recent, trending, window
from retrieval.sources.source import Batch, Found, Rung, Source

__all__ = ["SOURCES", "SWITCHES", "Batch", "Found", "Rung", "Source", "SourceNumbers", "SourceSettings"]

SOURCES: Final[tuple[Source[Any, Any, Any], ...]] = (
    nearest.SOURCE,
    covisitation.SOURCE,
    trending.SOURCE,
    recent.SOURCE,
    new.SOURCE,
    bought_together.SOURCE,
    own.SOURCE,
    window.SOURCE,
    given.SOURCE,
)


class SourceSettings(  # the last base's fields are listed first
    own.Sizes,
    bought_together.Sizes,
    window.Sizes,
    new.Sizes,
    recent.Sizes,
    trending.Sizes,
    covisitation.Sizes,
    nearest.Sizes,
):
    """How many candidates each source may bring to a request."""


@dataclass(frozen=True, kw_only=True)
class SourceNumbers(
    nearest.Numbers,
    covisitation.Numbers,
    trending.Numbers,
    recent.Numbers,
    new.Numbers,
    window.Numbers,
    bought_together.Numbers,
    own.Numbers,
    given.Numbers,
):
    """The columns that the sources leave beside each candidate. NaN: not from that source."""


def switches(sources: Sequence[Source[Any, Any, Any]]) -> dict[str, str]:
    """Return what `--without` can leave out of retrieval, by name, and the setting that turns each off."""
    found: dict[str, str] = {}
    for source in sources:
        if source.settings:
            found[source.name] = source.settings[0]
        found.update({part: part for part in source.parts})
    return found


def expect_complete(
    sources: Sequence[Source[Any, Any, Any]], settings: type[Group], numbers: type[SourceNumbers]
) -> None:
    """Raise TypeError for a source whose name is taken, or whose settings or numbers are not among the others'."""
    names = [source.name for source in sources]
    for source in sources:
        if names.count(source.name) > 1:
            raise TypeError(f"candidate source {source.name!r}: expected a name of its own, got one that is taken")
        for missing in {*source.settings, *source.parts} - set(settings.model_fields):
            raise TypeError(
                f"candidate source {source.name!r}: SourceSettings lacks {missing!r}: add its Sizes to the bases"
            )
        for missing in {field.name for field in fields(source.numbers)} - {field.name for field in fields(numbers)}:
            raise TypeError(
                f"candidate source {source.name!r}: SourceNumbers lacks {missing!r}: add its Numbers to the bases"
            )


expect_complete(SOURCES, SourceSettings, SourceNumbers)
SWITCHES: Final = switches(SOURCES)
