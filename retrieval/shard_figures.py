"""What a shard of the index shows of itself on its `/metrics`."""

from __future__ import annotations

from typing import Final

from contracts.figures import Figures
from retrieval.follow import Follower
from retrieval.shard_sockets import Door

FIGURES: Final = Figures("nextclick_index_shard_")
_items = FIGURES.gauge("items", "Items that can be found.")
_change = FIGURES.gauge("change", "Number of the next change of the catalogue to take in.")
_answered = FIGURES.counter("searches", "Questions of gateways that were answered or refused.")
_bad = FIGURES.counter("bad_frames", "Frames that were none of ours; their connections were closed.")


def serves(door: Door, follower: Follower) -> None:
    """Show this follower from now on."""

    def look() -> None:
        _items.set(len(follower.index))
        _change.set(follower.number)
        _answered.set(door.answered)
        _bad.set(door.bad_frames)

    FIGURES.instead(look)
