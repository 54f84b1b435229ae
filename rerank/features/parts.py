"""Feature blocks that a ranker may have beside FEATURES: each needs what only some recordings have.

A ranker names its own in its manifest (`context`). One that names none computes FEATURES alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import xxhash

from rerank.calendar import CYCLES, Calendar
from rerank.features import moments, visitors
from rerank.features.block import Block

PARTS: Final[Mapping[str, Block]] = {
    one.name: one for one in (visitors.device, visitors.region, moments.hour, moments.weekday, moments.season)
}
"""Every part by its name, in the order of their columns."""
VISITORS: Final = frozenset(("device", "region"))
"""Parts that read who asks."""


def expected_parts(names: object) -> Sequence[str]:
    """Return names of parts as a manifest holds them. Raises ValueError unless they are of PARTS, in its order."""
    if not isinstance(names, list) or names != [name for name in PARTS if name in names]:
        raise ValueError(f"expected parts of {', '.join(PARTS)}, each once, in this order, got {names!r:.60}")
    return names


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one ranker, by name, in the order of PARTS, and the calendar that those of moments read.

    Raises ValueError for an unknown or misplaced name, and for a part of a moment without its calendar.
    """

    names: tuple[str, ...] = ()
    calendar: Calendar | None = None

    def __post_init__(self) -> None:
        expected_parts(list(self.names))
        missing = set(self.cycles) - (set() if self.calendar is None else set(self.calendar.lifts))
        if missing:
            raise ValueError(f"expected a calendar with {', '.join(sorted(missing))}: train the re-ranker again")

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(PARTS[name] for name in self.names)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of their features, in the order of their columns."""
        return tuple(feature.name for block in self.blocks for feature in block.features)

    @property
    def cycles(self) -> tuple[str, ...]:
        """Those that read the calendar."""
        return self.cycles_among(self.names)

    @staticmethod
    def cycles_among(names: Sequence[str]) -> tuple[str, ...]:
        """Return the names of those that read a calendar."""
        return tuple(name for name in names if name in CYCLES)

    @property
    def read_visitors(self) -> bool:
        """Whether `Contexts.visitors` is read."""
        return bool(VISITORS & set(self.names))

    @property
    def schema(self) -> str:
        """Names their features, their order and their meaning: 16 hex digits."""
        return xxhash.xxh3_64_hexdigest("\n".join((str(MEANING), *self.features)).encode())


MEANING: Final = 1
"""Raise it when a part's feature means something else under the same name."""
NO_PARTS: Final = Parts()
