"""Votes of random batches over random sessions are those of the plain twin; who holds what takes bounded memory."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.codec import EndedSession
from retrieval.ended_sessions import KEPT_CLICKS, Slot
from retrieval.session_columns import SessionColumns, Votes
from retrieval.session_holders import SessionHolders
from tests.retrieval.oracle_votes import votes

T0 = 1_700_000_000_000


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_votes_are_those_of_the_plain_twin(seed: int) -> None:
    random = np.random.default_rng(seed)
    items, held, kept = int(random.choice([3, 12, 60])), SessionColumns(), dict[int, tuple[int, list[int]]]()
    for _ in range(int(random.integers(1, 6))):
        changes = []
        for slot in random.integers(0, 500, int(random.choice([1, 20, 300]))).tolist():
            clicks = random.integers(1, items + 1, int(random.integers(1, 24))).tolist()
            begin = int(random.integers(0, 10**9))
            changes.append((Slot(slot), None if random.random() < 0.2 else EndedSession(T0 + begin, _keys(clicks))))
            kept.pop(slot, None)
            if changes[-1][1] is not None:
                kept[slot] = begin, clicks[-KEPT_CLICKS:]
        held.apply(changes)
    sessions = [clicks for _, clicks in sorted(kept.values(), key=lambda one: one[0])]
    assert len(held) == len(sessions)
    for newest in (1, 7, 500):
        b = int(random.choice([1, 2, 8]))
        windows = random.integers(0, items + 3, (b, int(random.choice([1, 4, 25]))))
        wanted = [random.permutation(items + 2)[: int(random.integers(0, items + 2))] + 1 for _ in range(b)]
        starts = np.cumsum([0, *map(len, wanted)])

        found = held.votes(_keys(windows), _keys(np.concatenate(wanted)), starts, clicks=10, newest=newest)

        for at, (window, candidates) in enumerate(zip(windows.tolist(), wanted, strict=True)):
            expected = votes(sessions, window, candidates.tolist(), newest)
            for name, column in zip((field.name for field in fields(Votes)), expected, strict=True):
                mine = getattr(found, name)[starts[at] : starts[at + 1]]
                np.testing.assert_allclose(mine, column, rtol=2e-6, atol=1e-7, err_msg=name)


def _keys(numbers: object) -> np.ndarray:
    return np.asarray(numbers, np.uint64)


def test_sessions_that_come_and_go_take_bounded_memory() -> None:
    random = np.random.default_rng(1)
    holders, started, sizes = SessionHolders(), np.arange(2_000, dtype=np.int64), []
    holders.extend_to(500)
    rows = np.arange(2_000, dtype=np.int32)
    for turn in range(60):
        numbers = random.integers(0, 500 if turn % 2 else 3, 2_000).astype(np.int32)
        holders.add(rows, numbers, started, may_wait=bool(turn % 3))
        assert holders.counts.sum() == 2_000
        holders.sort(numbers, started)
        for number in (0, 1, 2, 499):
            mine = slice(int(holders.begins[number]), int(holders.begins[number] + holders.counts[number]))
            assert holders.rows[mine].tolist() == np.flatnonzero(numbers == number).tolist()
        sizes.append(len(holders.rows))
        holders.remove(rows, numbers, started)
        assert holders.counts.sum() == 0
    assert max(sizes) <= 4 * 2_000 + 2_048
