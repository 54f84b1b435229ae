"""Events sent in the background, in batches: `add` returns at once, and never raises for what the network does."""

from __future__ import annotations

import atexit
import os
import threading
import time
from typing import Any

from nextclick_client.calls import MOST_EVENTS, check, event
from nextclick_client.client import Client
from nextclick_client.errors import Refused, Unavailable, WrongUse
from nextclick_client.types import Event
from nextclick_client.waiting import FULL, Told, Waiting, tell

_PAUSE_S = 0.05
"""Between two attempts while it closes."""


class EventQueue:
    """Sends what is added, after `every_s` seconds or once `batch` events wait. For all threads of a process; a process
    that forks begins an empty one in its child. At exit what waits is sent, for `exit_s` seconds at most.

    While the gateway takes nothing, at most `most` events wait; newer ones are left out. `told` is called with every
    event that is left out or refused, and why. `len(queue)`, `sent`, `refused` and `dropped` say how it goes.
    """

    def __init__(
        self,
        client: Client,
        *,
        batch: int = 200,
        every_s: float = 1.0,
        most: int = 10_000,
        exit_s: float = 5.0,
        told: Told | None = None,
    ) -> None:
        if not 1 <= batch <= MOST_EVENTS:
            raise WrongUse(f"expected a batch of 1 to {MOST_EVENTS:,} events, got {batch}")
        self._client, self._batch, self._every_s, self._most = client, batch, every_s, most
        self._exit_s, self._told = exit_s, told
        self._begin()
        atexit.register(self.close)

    def _begin(self) -> None:
        self._waiting = Waiting(self._most)
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._some, self._full, self._closed = threading.Event(), threading.Event(), False
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def sent(self) -> int:
        return self._waiting.sent

    @property
    def refused(self) -> int:
        return self._waiting.refused

    @property
    def dropped(self) -> int:
        return self._waiting.dropped

    def track(self, type: str, session_id: str, item_id: str | None = None, **more: Any) -> bool:
        """Add an event that happens now: see `nextclick_client.event`."""
        return self.add(event(type, session_id, item_id, **more))

    def add(self, one: Event) -> bool:
        """Add an event; False where there is no room for it. Raises WrongUse once the queue is closed, and for what
        JSON cannot hold.
        """
        check(one)
        if self._process != os.getpid():
            self._begin()
        with self._lock:
            if self._closed:
                raise WrongUse("expected an open queue, got one that was closed: make another")
            is_taken = self._waiting.add(one)
            is_full = len(self._waiting) >= self._batch
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nextclick events", daemon=True)
                self._thread.start()
        self._some.set()
        if is_full:
            self._full.set()
        if not is_taken:
            tell(self._told, [(one, FULL)])
        return is_taken

    def flush(self, timeout_s: float | None = None) -> bool:
        """Send all that waits; False where it could not be sent, and still waits. Each batch is retried as the client
        does; `timeout_s` bounds the time in which another batch is begun.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while len(self._waiting):
            if (until is not None and time.monotonic() > until) or not self._send():
                return False
        return True

    def close(self) -> None:
        """Send what waits, within `exit_s` seconds, and stop. What is left then is told, and counted in `dropped`."""
        atexit.unregister(self.close)
        with self._lock:
            if self._closed or self._process != os.getpid():
                return
            self._closed = True
        self._some.set()
        self._full.set()
        if self._thread is not None:
            self._thread.join(self._exit_s)
        with self._lock:
            left = self._waiting.give_up()
        tell(self._told, left)

    def __enter__(self) -> EventQueue:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._closed:
            self._some.wait()
            self._some.clear()
            self._full.wait(self._every_s)
            self._full.clear()
            if not self.flush():
                self._some.set()  # try again
        until = time.monotonic() + self._exit_s
        while not self.flush() and time.monotonic() < until:
            time.sleep(_PAUSE_S)

    def _send(self) -> bool:
        """Send the oldest batch; False where it could not be sent."""
        with self._sending:
            with self._lock:
                batch = self._waiting.first(self._batch)
            if not batch:
                return True
            try:
                answer = self._client.send_events(batch)
            except Unavailable:
                return False
            except (Refused, WrongUse) as error:  # the latter of an event that was changed since
                with self._lock:
                    left_out = self._waiting.refuse(batch, str(error))
            else:
                with self._lock:
                    left_out = self._waiting.done(batch, answer)
        tell(self._told, left_out)
        return True
