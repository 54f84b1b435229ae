"""What `nextclick experiment units` says of the table it wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attribution.participants import Participants
from contracts.outputs import text_kind

UNITS: Final = text_kind("a table of `nextclick experiment units`", "unit,variant,device,region,pages,")


def told(found: Participants, out: Path) -> Iterator[str]:
    """Yield lines: units by variant, what was left out and why, and the command that reports."""
    if not found.rows:
        yield "Nobody took part: no page of this experiment is in the log."
        return
    counts = Counter(one.variant for one in found.rows)
    yield f"{out}: {len(found.rows):,} units; " + ", ".join(f"{name} {counts[name]:,}" for name in sorted(counts))
    for count, why in (
        (found.switched, "were seen in several variants"),
        (found.held_out, "were held out"),
        (found.testers, "are testers"),
    ):
        if count:
            yield f"{count:,} units {why}, and are left out"
    if len(found.currencies) > 1:
        yield f"revenue is counted in {found.currencies[0]} alone; there is also {', '.join(found.currencies[1:])}"
    yield f"nextclick experiment report {out} --metric clicks/pages --metric orders --metric revenue"
