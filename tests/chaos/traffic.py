"""Seeded traffic: visitors who come, are shown pages, click, go, and come back; and a sender that does not give up."""

from __future__ import annotations

import http.client
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from contracts.ids import murmur2

VISITORS = 300
"""Here at once."""
STEP_MS = 100
"""Of event time between two events: hours pass in a minute, and sessions end."""
VISIT = 25
"""Events of a visit, at most: of a visitor who is shown one item more than eight times before any click of his was
read, trends keep the last eight.
"""
USERS = 5000
"""Several visitors may be one of them: other devices."""
PAGE = 8
_BACK_MS = 5_400_000
_SKEW_MS = 120_000
_REPEATED = 2000
TIMEOUT_S = 2.0
PAUSE_S = 0.02
_KEPT_S = 60.0


@dataclass(slots=True)
class _Visitor:
    """`skew_ms` is what its clock is ahead, or behind."""

    name: str
    home: int
    skew_ms: int = 0
    left: int = VISIT


@dataclass(slots=True)
class Traffic:
    """Events in time order, but for visitors whose clocks are wrong. Two of a hundred are sent again: at once, or up
    to two thousand later.
    """

    seed: int
    items: list[str]
    start_ms: int
    now_ms: int = field(init=False)
    _random: Random = field(init=False)
    _here: list[_Visitor] = field(init=False)
    _away: deque[tuple[int, _Visitor]] = field(default_factory=deque)
    _past: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_REPEATED))
    _made: int = 0

    def __post_init__(self) -> None:
        self.now_ms, self._random = self.start_ms, Random(self.seed)
        self._here = [self._newcomer() for _ in range(VISITORS)]

    def events(self, count: int) -> Iterator[dict[str, Any]]:
        """Yield the next `count` events, repeats among them."""
        for _ in range(count):
            if self._past and self._random.random() < 0.02:
                yield self._past[-1] if self._random.random() < 0.5 else self._random.choice(self._past)
            else:
                event = self._next()
                self._past.append(event)
                yield event

    def last(self, partitions: int, partition_of: Callable[[str, int], int]) -> list[dict[str, Any]]:
        """Return a click into each partition, so much later that every session before it has ended."""
        self.now_ms += 4 * 3_600_000
        found: dict[int, dict[str, Any]] = {}
        number = 0
        while len(found) < partitions:
            name = f"last-{self.seed}-{number}"
            found.setdefault(partition_of(name, partitions), self._event(_Visitor(name, 0), "view"))
            number += 1
        return list(found.values())

    def _next(self) -> dict[str, Any]:
        self.now_ms += self._random.randrange(2 * STEP_MS)
        if self._away and self._away[0][0] <= self.now_ms:
            self._here.append(self._away.popleft()[1])
        at = self._random.randrange(len(self._here))
        visitor = self._here[at]
        if visitor.left <= 0 or self._random.random() < 0.02:
            self._here[at] = self._newcomer()
            if self._random.random() < 0.2:
                visitor.left = VISIT
                self._away.append((self.now_ms + _BACK_MS, visitor))
        kind = self._random.choices(("view", "impression", "cart", "purchase", "wish"), (77, 8, 8, 4, 3))[0]
        return self._event(visitor, kind)

    def _event(self, visitor: _Visitor, kind: str) -> dict[str, Any]:
        visitor.left -= 1
        self._made += 1
        event = {"v": 1, "event_id": f"{self.seed}-{self._made}", "type": kind, "session_id": visitor.name}
        if self._random.random() < 0.3:
            event["user_id"] = f"u-{murmur2(visitor.name.encode()) % USERS}"
        near = [self.items[(visitor.home + step) % len(self.items)] for step in range(12)]
        what: dict[str, Any] = (
            {"items": self._random.sample(near, PAGE)}
            if kind == "impression"
            else {"item_id": self._random.choice(near)}
        )
        if kind == "purchase":
            what |= {"value": self._made % 10_000 / 100, "currency": "EUR", "order_id": f"o-{self.seed}-{self._made}"}
        return {**event, "ts": self.now_ms + visitor.skew_ms, **what}

    def _newcomer(self) -> _Visitor:
        home = 12 * self._random.randrange(len(self.items) // 12)
        skew_ms = self._random.choices((0, _SKEW_MS, -_SKEW_MS), (96, 2, 2))[0]
        return _Visitor(f"s-{self.seed}-{self._random.getrandbits(40):x}", home, skew_ms)


class Sender:
    """Sends events in order over one connection, and each body again until it is taken. For one thread.

    `acknowledged` holds the ids that were answered with 202, and when, on the clock of `time.monotonic`.
    """

    def __init__(self, address: Callable[[], tuple[str, int]], stop: threading.Event) -> None:
        self._address, self._stop = address, stop
        self._connection: http.client.HTTPConnection | None = None
        self.acknowledged: dict[str, float] = {}
        self._kept: deque[tuple[float, bytes]] = deque()
        self._since_s: float | None = None
        self._sending = threading.Lock()
        self._again: deque[bytes] = deque()
        self.sent = self.again = 0
        self.odd: list[str] = []

    def send(self, events: list[dict[str, Any]]) -> str | None:
        """Return the token of the last click once all are taken; None when told to stop before that."""
        body = orjson.dumps(events)
        while not self._stop.is_set():
            with self._sending:
                answer = self._post(body) if self._all_sent_again() else None
                if answer is not None:
                    self._keep(body)
                    self.acknowledged |= dict.fromkeys((event["event_id"] for event in events), time.monotonic())
                    self.sent += len(events)
                    token = answer.get("token")
                    return str(token) if token else ""
            self.again += 1
            time.sleep(PAUSE_S)
        return None

    @contextmanager
    def still(self) -> Iterator[None]:
        """Hold it still, between two bodies."""
        with self._sending:
            yield

    def forget(self) -> None:
        """Forget what was acknowledged."""
        self.acknowledged.clear()
        self._kept.clear()

    def send_again_since(self, since_s: float) -> None:
        """What was answered since then is sent again before anything else is, in the same order. Of another thread."""
        self._since_s = since_s

    def _all_sent_again(self) -> bool:
        since_s, self._since_s = self._since_s, None
        if since_s is not None:
            self._again = deque(body for at_s, body in self._kept if at_s >= since_s)
        while self._again and self._post(self._again[0]) is not None:
            self._keep(self._again.popleft())  # it may be lost once more
        return not self._again

    def _keep(self, body: bytes) -> None:
        self._kept.append((time.monotonic(), body))
        while self._kept and self._kept[0][0] < time.monotonic() - _KEPT_S:
            self._kept.popleft()

    def _post(self, body: bytes) -> dict[str, Any] | None:
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(*self._address(), timeout=TIMEOUT_S)
            self._connection.request("POST", "/api/events", body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        if answer.status == 202:
            told = orjson.loads(content)
            if told["rejected"]:
                self.odd.append(f"rejected: {told['rejected'][:2]}")
            return dict(told)
        if answer.status != 503:
            self.odd.append(f"{answer.status}: {content[:200]!r}")
        return None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
