"""Whether to stop, and a wait for it: what a signal's handler may set.

A handler runs in the main thread, between any two steps of it. threading.Event takes a lock to set and to wait. Where
the main thread has that lock when the signal comes, the handler waits for its own thread, for ever. queue.SimpleQueue
is made for that: its `put` may come in the middle of its `get`, or of another `put`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from queue import Empty, SimpleQueue


class Stopping:
    """As threading.Event, without `clear`: set once, from any thread or a signal's handler; any number may wait."""

    def __init__(self) -> None:
        self._told: SimpleQueue[None] = SimpleQueue()
        self._is_set = False

    def set(self) -> None:
        self._is_set = True
        self._told.put(None)

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Return whether it is set, after so many seconds at most."""
        if not self._is_set:
            try:
                self._told.get(timeout=timeout)
            except Empty:
                return self._is_set
            self._told.put(None)  # for whoever else waits
        return True


def stopping_on_signals() -> Stopping:
    """Return what SIGINT and SIGTERM set from now on. For the main thread."""
    stopping = Stopping()
    on_stop_signals(stopping.set)
    return stopping


def on_stop_signals(stop: Callable[[], object]) -> None:
    """Have SIGINT and SIGTERM call `stop`, which may take no lock. For the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop())
