"""What a shard of the index shows of itself on its `/metrics`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from contracts.figures import Figures
from retrieval.follow import Follower
from retrieval.shard_sockets import Door

FIGURES: Final = Figures("nextclick_index_shard_")
_serving = FIGURES.gauge("serving", "1 once it answers, 0 while it loads its items.", "shard")
_items = FIGURES.gauge("items", "Items that can be found.", "shard")
_change = FIGURES.gauge("change", "Number of the next change of the catalogue to take in.", "shard")
_behind = FIGURES.gauge("seconds_behind", "Since it last had every change of the catalogue.", "shard")
_answered = FIGURES.counter("searches", "Questions of gateways that were answered or refused.", "shard")
_refused = FIGURES.counter("refused", "Questions that were refused: of another model or layout, or too early.", "shard")
_took = FIGURES.counter("search_seconds", "Time that it searched.", "shard")
_bad = FIGURES.counter("bad_frames", "Frames that were none of ours; their connections were closed.", "shard")


def watch(shard: int, door: Door, serving: Callable[[], Follower | None], behind_s: Callable[[], float]) -> None:
    """Show this shard from now on, and no other. `serving` returns what answers, None while it loads."""
    label = str(shard)

    def look() -> None:
        follower = serving()
        _serving.set(float(follower is not None), label)
        _items.set(0 if follower is None else len(follower.index), label)
        _change.set(0 if follower is None else follower.number, label)
        _behind.set(behind_s(), label)
        _answered.set(door.answered, label)
        _refused.set(door.refused, label)
        _took.set(door.took_s, label)
        _bad.set(door.bad_frames, label)

    FIGURES.instead(look)
