"""What `nextclick experiment units` and `bandit-log` say of the tables they wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attribution.drawn_pages import DrawnPage
from attribution.participants import Participants
from contracts.outputs import text_kind

CREDIT_COLUMNS: Final = ("first", "second", "credit")
"""Of interleaved pages: the two variants, and clicks on the second's items less those on the first's."""
UNITS: Final = text_kind("a table of `nextclick experiment units`", "unit,variant,device,region,pages,")
BANDIT_LOG: Final = text_kind("a log of `nextclick experiment bandit-log`", "action,reward,propensity,device,")


def told_of_pages(found: Sequence[DrawnPage], out: Path) -> Iterator[str]:
    """Yield lines: pages and clicked ones by variant, and the command that reads them."""
    if not found:
        yield "No page of this experiment in the log says with which probability it was drawn."
        return
    pages, clicked = Counter(one.action for one in found), Counter(one.action for one in found if one.reward)
    each = (f"{name} {pages[name]:,} ({clicked[name]:,} clicked)" for name in sorted(pages))
    yield f"{out}: {len(found):,} pages; " + ", ".join(each)
    yield f"nextclick evaluate policy {out} --policy uniform --context device --context returning --unit unit"


def told(found: Participants, out: Path, *, interleaved: bool = False) -> Iterator[str]:
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
    if interleaved:
        yield f"nextclick experiment report {out}"
        return
    yield f"nextclick experiment report {out} --metric clicks/pages --metric orders --metric revenue"
