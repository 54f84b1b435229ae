"""A pull of a feed on a terminal: how many items are read, then how many changes are taken, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from nextclick.stack.feeds.pull import Reached, Show

EVERY_S = 10.0
"""Between two lines where there is no terminal."""


def words_of(reached: Reached, rate: float) -> str:
    """Return how far a pull is; `rate`: items a second, of what it does now."""
    if reached.changes is None:
        return f"{reached.read:,} items read · {rate:,.0f} items/s"
    refused = f" · {reached.refused:,} refused" if reached.refused else ""
    return f"{reached.taken:,} of {reached.changes:,} changes taken{refused} · {rate:,.0f} changes/s"


class Rate:
    """How fast it goes since the phase began. Mutable."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._began: tuple[bool, float, int] = (False, clock_s(), 0)

    def of(self, reached: Reached) -> float:
        applies = reached.changes is not None
        done = reached.taken + reached.refused if applies else reached.read
        if applies != self._began[0]:
            self._began = (applies, self._clock_s(), done)
        _, began_s, before = self._began
        return (done - before) / max(self._clock_s() - began_s, 1e-3)


@contextmanager
def watched(console: Console, clock_s: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """Give what shows how far a pull is: a bar on a terminal, a line every ten seconds elsewhere."""
    rate, said = Rate(clock_s), clock_s()
    columns = (TextColumn("{task.fields[doing]}"), BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, doing="reading", words="")

        def show(reached: Reached) -> None:
            nonlocal said
            words = words_of(reached, rate.of(reached))
            if reached.changes is None:
                bar.update(task, words=words)
            else:
                done = reached.taken + reached.refused
                bar.update(task, doing="applying", completed=done, total=reached.changes, words=words)
            if not console.is_terminal and clock_s() - said >= EVERY_S:
                said = clock_s()
                console.print(words, markup=False, highlight=False)

        yield show
