"""Ended-session features: votes, cosines and transition shares of the sessions that held the visitor's items."""

from __future__ import annotations

from typing import Final

from rerank.features.arrays import share_of_best
from rerank.features.block import FROM_ZERO, SHARE, Columns, Feature, block
from rerank.features.inputs import Inputs

_CLICKED_ITEMS: Final = 10
"""Newest distinct items of the window whose ended sessions vote."""
_SESSIONS: Final = 500
"""Newest ended sessions of each of them that vote."""


@block(
    Feature(
        "votes",
        "sessions that held the candidate, summed over the visitor's items: each weighs log(all sessions / sessions "
        "that held the visitor's item), times 0.85 for each newer item of the visitor's",
        FROM_ZERO,
    ),
    Feature("votes_to_best", "`votes` over the largest of the request", SHARE),
    Feature(
        "sessions_cosine_last",
        "sessions that held the candidate and the visitor's newest item, over √(sessions with the one × sessions with "
        "the other); the newest item is the newest one that any session held",
        SHARE,
    ),
    Feature("sessions_cosine", "the same summed over the visitor's items", FROM_ZERO),
    Feature(
        "sessions_next", "share of the clicks on the newest item with the candidate right after, 3 clicks added", SHARE
    ),
    Feature(
        "sessions_before",
        "share of the clicks on the newest item with the candidate right before, 3 clicks added",
        SHARE,
    ),
    Feature(
        "sessions_next_alike",
        "as `sessions_next`, 1 added: each click weighs what its session had held by then of the visitor's five next "
        "newest items, 0.85 to the power of the place each",
        SHARE,
    ),
    Feature(
        "sessions_next_exactly",
        "as `sessions_next`, 1 added: only clicks that came right after the visitor's own click before the newest item",
        SHARE,
    ),
    Feature(
        "sessions_later_alike",
        "log(1 + Σ weight / distance): weights of `sessions_next_alike` wherever the candidate came later",
        FROM_ZERO,
    ),
)
def ended_sessions(out: Columns, inputs: Inputs) -> None:
    """What ended sessions say, of the newest 500 that held each of the visitor's newest 10 distinct items.

    Nothing fades here: a session counts until another one takes its slot. `retrieval.session_columns.Votes` has the
    counts, `retrieval.session_order` the order of clicks.
    """
    candidates = inputs.candidates
    said = inputs.ended.votes(
        inputs.contexts.keys, inputs.keys, candidates.starts, clicks=_CLICKED_ITEMS, newest=_SESSIONS
    )
    out["votes"] = said.votes
    out["votes_to_best"] = share_of_best(said.votes, candidates.starts)
    out["sessions_cosine_last"] = said.cosine_last
    out["sessions_cosine"] = said.cosine
    out["sessions_next"] = said.next
    out["sessions_before"] = said.before
    out["sessions_next_alike"] = said.next_alike
    out["sessions_next_exactly"] = said.next_exactly
    out["sessions_later_alike"] = said.later_alike
