"""Rows of the ended-sessions table: the reader of many and `decode_ended` agree."""

from __future__ import annotations

import numpy as np

from contracts.codec import decode_ended, encode_ended
from contracts.plausible import expect_ended
from gateway.replicas import into_sessions
from retrieval.session_columns import SessionColumns
from retrieval.session_rows import read_sessions
from tests.damage import an_ended
from tests.fuzz.target import Target

SPAN = np.array([0, 1])


def check(raw: bytes) -> None:
    try:
        read_sessions([raw])
        is_taken = True
    except ValueError:
        is_taken = False
    try:
        ended = decode_ended(raw)
        expect_ended(ended)
    except ValueError:
        assert not is_taken
        raise
    assert is_taken
    assert encode_ended(ended) == raw
    columns = SessionColumns()
    into_sessions(columns, 100)([(3, raw), (4, encode_ended(an_ended()))])
    clicked = np.array([[*ended.items[-1:], *an_ended().items]], np.uint64)
    votes = columns.votes(clicked, an_ended().items[:1], SPAN, clicks=3, newest=10)
    assert np.isfinite(votes.votes).all()


TARGET = Target(
    check,
    {"three": encode_ended(an_ended()), "none": encode_ended(an_ended())[:9]},
    code=("contracts.codec", "contracts.plausible", "retrieval.session_rows", "retrieval.session_columns"),
    refusals=(ValueError,),
)
