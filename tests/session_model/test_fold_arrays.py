"""Folding many clicks into many sessions at once: what `session_model.window` and `embed` make of each alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.codec import decode_session, encode_session
from contracts.sessions import Session
from session_model.embedding import embed, embed_arrays
from session_model.encoder import SessionEncoder
from session_model.fold_arrays import OUTCOMES, ClickArrays, LoggedClick, fold_arrays
from session_model.window import Arrival, Outcome, WindowRules, fold
from state.session_arrays import SessionArrays
from tests.session_model.test_embedding import Vectors, encoder

MINUTE = 60_000
RULES = WindowRules(max_events=3, idle_gap_ms=30 * MINUTE)
NAMES = ("a", "b", "c")


@dataclass
class Partition:
    """A partition by the plain rules: its sessions by name, and its watermark."""

    sessions: dict[str, Session] = field(default_factory=dict)
    watermark_ms: int = 0

    def apply(self, clicks: list[LoggedClick], model: SessionEncoder | None) -> list[Outcome]:
        """Fold and embed session by session; returns what became of each click."""
        arrivals: dict[str, list[tuple[int, Arrival]]] = {}
        for at, (offset, name, user, ts, item, event, code) in enumerate(clicks):
            arrival = Arrival(name, user or None, (ts, item, event, code), offset, self.watermark_ms)
            arrivals.setdefault(name, []).append((at, arrival))
            self.watermark_ms = max(self.watermark_ms, ts)
        outcomes = [Outcome.LATE] * len(clicks)
        for name, theirs in arrivals.items():
            before = self.sessions.get(name)
            folded = fold(before, [arrival for _, arrival in theirs], RULES)
            for (at, _), outcome in zip(theirs, folded.outcomes, strict=True):
                outcomes[at] = outcome
            for session in embed(model, Vectors(), [before], [folded]):
                self.sessions[name] = session
        return outcomes


@dataclass
class Arrays:
    """Several partitions by arrays, stored as bytes between two batches."""

    stored: list[dict[str, bytes]]
    watermarks_ms: list[int]

    def apply(self, parts: list[list[LoggedClick]], model: SessionEncoder | None) -> list[Outcome]:
        clicks = ClickArrays.of(parts)
        asked = [(part, name) for part, names in enumerate(clicks.names) for name in names]
        width, version = (model.width, model.version) if model is not None else (0, 0)
        blobs = [self.stored[part].get(name) for part, name in asked]
        sessions, _ = SessionArrays.of(blobs, clicks.text, room=RULES.max_events, width=width, version=version)
        watermarks, self.watermarks_ms = clicks.watermarks(self.watermarks_ms, 10**13)
        folded = fold_arrays(clicks, sessions, RULES, watermarks)
        changed = embed_arrays(model, Vectors(), sessions, folded)
        for at, blob in zip(changed.tolist(), sessions.encoded(changed), strict=True):
            part, name = asked[at]
            self.stored[part][name] = blob
        return [OUTCOMES[number] for number in folded.outcomes.tolist()]


TIMES = st.builds(lambda minute, ms: minute * MINUTE + ms, st.integers(0, 200), st.sampled_from([0, 0, 1]))
CLICK_FIELDS = st.tuples(
    *(st.sampled_from(NAMES), st.sampled_from(["", "u1", "ü2"]), TIMES),
    *(
        st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 1000]),
        st.integers(1, 12).map(lambda n: n * 2**64 // 13),
        st.integers(0, 5),
    ),
)
BATCHES = st.lists(st.tuples(*(st.lists(CLICK_FIELDS, max_size=12),) * 2), min_size=1, max_size=4)
"""Batches of two partitions each."""


@settings(max_examples=200, deadline=None)
@given(BATCHES, st.sampled_from([(1, 1, 1, 1), (1, 1, 2, 2), (None, 1, 1, None)]))
def test_batches_of_arrays_leave_what_the_plain_rules_leave(
    batches: list[tuple[list[LoggedClick], ...]], versions: tuple[int | None, ...]
) -> None:
    plain, arrays = [Partition(), Partition()], Arrays([{}, {}], [0, 0])
    offset = 0
    for batch, version in zip(batches, versions, strict=False):
        parts: list[list[LoggedClick]] = []
        for drawn in batch:
            parts.append([(offset + n, *click) for n, click in enumerate(drawn)])  # type: ignore[misc]
            offset += len(drawn)
        model = None if version is None else encoder(version)
        expected = [outcome for one, part in zip(plain, parts, strict=True) for outcome in one.apply(part, model)]
        assert arrays.apply(parts, model) == expected
        assert arrays.watermarks_ms == [one.watermark_ms for one in plain]
    for one, stored in zip(plain, arrays.stored, strict=True):
        assert sorted(stored) == sorted(one.sessions)
        for name, session in one.sessions.items():
            assert_same(decode_session(name, stored[name]), session)


def assert_same(found: Session, expected: Session) -> None:
    """The same bytes, but for the last bits of the embedding: sums are made in another order."""
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-6)
    without = len(encode_session(expected)) - 4 * len(expected.embedding) - len((expected.user_id or "").encode())
    assert encode_session(found)[:without] == encode_session(expected)[:without]
    assert found.user_id == expected.user_id


def test_no_clicks_change_nothing() -> None:
    arrays = Arrays([{}, {}], [7, 8])
    assert arrays.apply([[], []], encoder()) == []
    assert (arrays.watermarks_ms, arrays.stored) == ([7, 8], [{}, {}])
