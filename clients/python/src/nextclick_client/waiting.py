"""Events that wait to be sent: bounded, in order, and taken in batches. Pure; for one thread at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from nextclick_client.types import Event, EventsAnswer

Told = Callable[[Event, str], None]
"""Called with an event that will not be sent, or was refused, and why."""

FULL: Final = "queue_full"
GAVE_UP: Final = "not_sent_at_exit"


class Waiting:
    """At most `most` events. Of more, the new ones are left out, and counted in `dropped`."""

    def __init__(self, most: int) -> None:
        self.most, self.dropped, self.sent, self.refused = most, 0, 0, 0
        self._events: deque[Event] = deque()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event) -> bool:
        """Take an event; False where there is no room."""
        if len(self._events) >= self.most:
            self.dropped += 1
            return False
        self._events.append(event)
        return True

    def first(self, count: int) -> list[Event]:
        """Return the oldest, which go on waiting until they are `done`."""
        return [self._events[at] for at in range(min(count, len(self._events)))]

    def done(self, batch: Sequence[Event], answer: EventsAnswer) -> list[tuple[Event, str]]:
        """Let go a batch that was answered; returns what of it was refused, and why."""
        self._let_go(len(batch))
        self.sent += answer["accepted"]
        self.refused += len(answer["rejected"])
        return [(batch[one["index"]], one["reason"]) for one in answer["rejected"] if one["index"] < len(batch)]

    def refuse(self, batch: Sequence[Event], why: str) -> list[tuple[Event, str]]:
        """Let go a batch that the gateway takes nothing of."""
        self._let_go(len(batch))
        self.refused += len(batch)
        return [(event, why) for event in batch]

    def give_up(self) -> list[tuple[Event, str]]:
        """Let go all that still waits."""
        left = [(event, GAVE_UP) for event in self._events]
        self.dropped += len(left)
        self._events.clear()
        return left

    def _let_go(self, count: int) -> None:
        for _ in range(min(count, len(self._events))):
            self._events.popleft()


def tell(told: Told | None, events: Sequence[tuple[Event, str]]) -> None:
    """Name events to whoever wants to know. What that raises is theirs, and ends no sending."""
    if told is None:
        return
    for event, why in events:
        with suppress(Exception):
            told(event, why)
