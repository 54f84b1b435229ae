"""Posting clicks at a steady rate over several connections, and watching when they are applied."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

import orjson

from contracts.keys import Keys
from eventlog.contract import Position
from nextclick.bench.click_stack import GIVE_UP_S, ClickStack
from state.client import connect

_LOOK_S = 0.002


@dataclass(frozen=True, slots=True)
class Posted:
    """A body that was taken: when it was due, when that was answered (seconds, one clock), and its last click."""

    due_s: float
    answered_s: float
    position: Position


@dataclass(slots=True)
class _Sending:
    """What the threads of one load share."""

    port: int
    rate: float
    connections: int
    began: float
    send: Callable[[http.client.HTTPConnection, bytes], tuple[float, Position]]
    posted: list[Posted] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)


def post_event(connection: http.client.HTTPConnection, body: bytes) -> tuple[float, Position]:
    """Post clicks; return when they were answered, and where the last one is."""
    connection.request("POST", "/api/events", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = orjson.loads(answer.read())
    answered_s = time.monotonic()
    if answer.status != 202 or said["rejected"]:
        raise RuntimeError(f"expected 202 and no event rejected, got {answer.status} {said}")
    return answered_s, Position.parse(said["token"])


def post(
    port: int,
    bodies: Sequence[bytes],
    rate: float,
    *,
    connections: int = 1,
    told: SimpleQueue[Posted] | None = None,
    send: Callable[[http.client.HTTPConnection, bytes], tuple[float, Position]] = post_event,
) -> list[Posted]:
    """Post bodies at a steady rate, in turns over the connections; a body that is due waits for its connection alone.

    `told` hears of each as it is answered. Raises RuntimeError for an answer that does not take all.
    """
    sending = _Sending(port, rate, connections, time.monotonic() + 0.05, send)
    threads = [
        threading.Thread(target=_keep_posting, args=(sending, bodies, first, told)) for first in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if sending.failures:
        raise sending.failures[0]
    return sending.posted


def _keep_posting(sending: _Sending, bodies: Sequence[bytes], first: int, told: SimpleQueue[Posted] | None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sending.port, timeout=30)
    try:
        for at in range(first, len(bodies), sending.connections):
            due = sending.began + at / sending.rate
            time.sleep(max(0.0, due - time.monotonic()))
            posted = Posted(due, *sending.send(connection, bodies[at]))
            sending.posted.append(posted)
            if told is not None:
                told.put(posted)
    except Exception as error:
        sending.failures.append(error)
    finally:
        connection.close()


class Watch:
    """Looks every 2 ms how far the sessions flow has come, until all that it was told of is applied."""

    def __init__(self, stack: ClickStack) -> None:
        self.told: SimpleQueue[Posted] = SimpleQueue()
        self._stack = stack
        self._waiting: list[Posted] = []
        self._took_s: list[float] = []

    def follow(self, count: int) -> list[float]:
        """Return how long each of `count` bodies took from when it was due to being applied, in seconds."""
        keys, partitions = Keys(self._stack.redis.prefix), range(self._stack.log.partitions)
        until = time.monotonic() + GIVE_UP_S
        with connect(self._stack.redis) as client:
            while len(self._took_s) < count:
                if time.monotonic() > until:
                    raise TimeoutError(f"expected {count} clicks applied within {GIVE_UP_S:g} s")
                pipe = client.pipeline(transaction=False)
                for partition in partitions:
                    pipe.hget(keys.progress(partition), "next")
                self._look([int(one or 0) for one in pipe.execute()])
                time.sleep(_LOOK_S)
        return self._took_s

    def _look(self, applied: Sequence[int]) -> None:
        now = time.monotonic()
        while not self.told.empty():
            self._waiting.append(self.told.get())
        done = [one for one in self._waiting if applied[one.position.partition] > one.position.offset]
        self._took_s += [now - one.due_s for one in done]
        self._waiting = [one for one in self._waiting if applied[one.position.partition] <= one.position.offset]
