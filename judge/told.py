"""What the judge did, as lines of the audit log. They are made of the published experiments, not of what was asked: who
dies between doing and telling tells when it starts again, and tells once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from contracts.experiments import ExperimentVersion
from state.audit import Entry

BY: Final = "judge"
TOLD_FOR_MS: Final = 86_400_000
"""What is older was told, or is told no more."""


def lines_of(versions: Iterable[ExperimentVersion], now_ms: int) -> list[Entry]:
    """Return the lines of what the judge ended lately."""
    return [
        Entry(
            at_ms=version.stopped_ms,
            who=BY,
            what=f"experiment {version.name}, version {version.version}: "
            + ("stopped" if version.promoted is None else f"promoted {version.promoted}"),
            source=BY,
            outcome=version.why or "",
        )
        for version in versions
        if version.stopped_ms is not None
        and now_ms - version.stopped_ms < TOLD_FOR_MS
        and (version.by or "").split(",")[0] == BY
    ]


def untold(lines: Iterable[Entry], told: Collection[str]) -> list[Entry]:
    """Return the lines that are not among those told, by `what`."""
    return [line for line in lines if line.what not in told]
