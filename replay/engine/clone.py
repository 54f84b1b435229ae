"""More visitors than were recorded: every session several times, under ids of its own and starting a little later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import xxhash

_WHOLE = 1 << 64


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event of a recording. `place` counts from 0; with clones it is the place in the recording times the copies,
    plus the copy's number.
    """

    place: int
    ts_ms: int
    session_id: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Clones:
    """`copies` of every visitor, the recorded one included. Each further one starts up to `spread_s` of recorded time
    later, the same in every run with the same `seed`.
    """

    copies: int = 1
    spread_s: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.copies < 1 or self.spread_s < 0:
            raise ValueError(f"expected 1 copy or more and a spread of 0 s or more, got {self}")

    def delay_ms(self, copy: int, session_id: str) -> int:
        """Return how much later this copy of a session happens; one number a session, so that its order holds."""
        if copy == 0:
            return 0
        drawn = xxhash.xxh3_64_intdigest(f"{copy}~{session_id}".encode(), seed=self.seed)
        return int(drawn / _WHOLE * self.spread_s * 1000.0)


def cloned(recorded: Iterable[Recorded], clones: Clones) -> Iterator[Recorded]:
    """Yield every event `copies` times, in time order. Lazy: holds `spread_s` of events, times copies."""
    if clones.copies == 1:
        yield from recorded
        return
    ahead: list[tuple[int, int, int, Recorded]] = []  # due, number (keeps the order of what is due together), copy
    number = 0
    for event in recorded:
        while ahead and ahead[0][0] <= event.ts_ms:
            yield _copy(*heappop(ahead), clones.copies)
        for copy in range(clones.copies):
            due_ms = event.ts_ms + clones.delay_ms(copy, event.session_id)
            heappush(ahead, (due_ms, number, copy, event))
            number += 1
    while ahead:
        yield _copy(*heappop(ahead), clones.copies)


def _copy(due_ms: int, number: int, copy: int, event: Recorded, copies: int) -> Recorded:
    place, fields = event.place * copies + copy, event.fields.copy()
    if copy == 0:
        return Recorded(place, due_ms, event.session_id, fields)
    for name in ("event_id", "session_id", "user_id"):
        if fields.get(name) is not None:
            fields[name] = f"{fields[name]}~{copy}"
    fields["ts"] = due_ms
    return Recorded(place, due_ms, fields["session_id"], fields)
