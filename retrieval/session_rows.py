"""Rows of the ended-sessions table read from bytes, as many at once as came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.codec import ENDED_CODEC, ENDED_HEADER, ENDED_TAKEN, ENDED_TAKEN_CODEC, decode_ended
from contracts.plausible import LAST_MS, expect_ended
from retrieval.ended_sessions import KEPT_CLICKS
from retrieval.key_rows import Keys

_HEADER: Final = ENDED_HEADER.itemsize
_PLAIN, _WITH_TAKEN = bytes((ENDED_CODEC,)), bytes((ENDED_TAKEN_CODEC,))


@dataclass(frozen=True, slots=True)
class ReadSessions:
    """n ended sessions: when each began (n,), how many last clicks are kept of it (n,), and on which items, oldest
    first, session after session (m,). `taken` (n,): see `EndedSession`.
    """

    started_ms: NDArray[np.int64]
    clicks: NDArray[np.int64]
    items: Keys
    taken: NDArray[np.uint32]


def read_sessions(rows: Sequence[bytes]) -> ReadSessions:
    """Read encoded ended sessions. Raises ValueError for one that is no session such as the trends flow writes, as
    `decode_ended` and `expect_ended` do.
    """
    taken = np.zeros(len(rows), np.uint32)
    with_taken = [at for at, row in enumerate(rows) if row[:1] == _WITH_TAKEN]
    if with_taken:
        rows = list(rows)
        for at in with_taken:
            row, found = rows[at], decode_ended(rows[at])
            taken[at] = found.taken
            rows[at] = _PLAIN + row[1 : -ENDED_TAKEN.size]
    sizes = np.fromiter(map(len, rows), np.int64, len(rows)) - _HEADER
    heads = np.frombuffer(b"".join([row[:_HEADER].ljust(_HEADER, b"\0") for row in rows]), ENDED_HEADER)
    started = heads["started_ms"]
    good = (sizes >= 0) & (sizes % 8 == 0) & (heads["codec"] == ENDED_CODEC) & (started >= 0) & (started <= LAST_MS)
    if not good.all():
        wrong = rows[int(good.argmin())]
        expect_ended(decode_ended(wrong))
        raise ValueError(f"expected an ended session such as the trends flow writes, got {wrong[:60]!r}")
    kept = 8 * KEPT_CLICKS
    items = np.frombuffer(b"".join([row[max(_HEADER, len(row) - kept) :] for row in rows]), np.uint64)
    return ReadSessions(started.astype(np.int64), np.minimum(sizes // 8, KEPT_CLICKS), items, taken)
