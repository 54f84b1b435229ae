"""How far a pull is, in words: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from nextclick.show.feed_progress import watched
from nextclick.stack.feeds.pull import Reached


def test_a_pull_says_how_many_items_it_read_and_how_fast_changes_are_taken() -> None:
    now_s, text = [0.0], io.StringIO()
    with watched(Console(file=text, width=200), lambda: now_s[0]) as show:
        for at, reached in (
            (1, Reached(read=500)),
            (10, Reached(read=5000)),
            (11, Reached(changes=4000)),
            (13, Reached(changes=4000, taken=1000)),
            (21, Reached(changes=4000, taken=2990, refused=10)),
        ):
            now_s[0] = at
            show(reached)
    assert text.getvalue().splitlines() == [
        "5,000 items read · 500 items/s",
        "2,990 of 4,000 changes taken · 10 refused · 300 changes/s",
    ]
