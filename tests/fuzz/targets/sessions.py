"""Stored sessions: the kernel that reads many takes none that `decode_session` refuses, and folds a click into it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from contracts.codec import decode_session, encode_session
from contracts.plausible import expect_session
from state.session_arrays import SessionArrays
from tests.damage import NOW, a_session
from tests.fuzz.target import Target

WIDTH = 4
ONE = np.zeros(1, np.int64)


def check(raw: bytes) -> None:
    arrays, odd = SessionArrays.of([raw], b"", room=50, width=WIDTH, version=5)
    taken = bool(arrays.exists[0]) and not len(odd)
    try:
        session = decode_session("s", raw)
        expect_session(session)
    except (ValueError, UnicodeDecodeError):
        assert not taken
        raise
    again = decode_session("s", encode_session(session))
    assert (again.window == session.window).all()
    assert (again.user_id, again.started_ms, again.last_ms) == (session.user_id, session.started_ms, session.last_ms)
    if taken and len(session.embedding) == WIDTH and session.model_version == 5:
        assert arrays.encoded(ONE) == [encode_session(session)]


TARGET = Target(
    check,
    {
        "two": encode_session(a_session()),
        "user": encode_session(replace(a_session(), user_id="ü-1", incomplete=True)),
        "long": encode_session(
            replace(a_session(), window=np.repeat(a_session().window, 60), events=200, last_ms=NOW + 9)
        ),
    },
    code=("contracts.codec", "contracts.plausible", "state.session_arrays"),
    refusals=(ValueError,),
)
