"""What a relay shows of itself on its `/metrics`."""

from __future__ import annotations

from collections.abc import Sequence, Set
from time import monotonic
from typing import Final

from contracts.figures import Figures
from state.relay_feed import Feed
from state.relay_peer import Peer

FIGURES: Final = Figures("nextclick_relay_")
_following = FIGURES.gauge("following", "1 while the table is followed in Redis, else 0.", "table")
_behind = FIGURES.gauge("seconds_silent", "Since Redis was heard of last, for this table.", "table")
_taken = FIGURES.counter("changes", "Changes that were read from Redis.", "table")
_begun = FIGURES.counter("begun", "Times that following began: once, and again after a lost connection.", "table")
_bytes = FIGURES.gauge("kept_bytes", "Bytes of changes that are kept for gateways.", "table")
_peers = FIGURES.gauge("connections", "Connections of gateways: one a table and process.")


def watch(feeds: Sequence[Feed], peers: Set[Peer]) -> None:
    """Show these from now on, and no others."""

    def look() -> None:
        for feed in feeds:
            _following.set(float(feed.kept is not None), feed.table)
            _behind.set(monotonic() - feed.heard_at, feed.table)
            _taken.set(feed.taken, feed.table)
            _begun.set(feed.begun, feed.table)
            _bytes.set(0 if feed.kept is None else feed.kept.size, feed.table)
        _peers.set(len(peers))

    FIGURES.instead(look)
