"""Many bodies into a running stack: no answer of 500, no traceback in a log, valid requests answered as before, flows
that go on, memory that stays.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console

from nextclick.stack.client import Client
from nextclick.stack.stack import Stack
from replay.engine.http_client import HttpAnswer, parse_answer
from tests.fuzz.requests_at_random import Asking
from tests.fuzz.shop import running_shop

PROBE_EVERY: Final = 1000
ANSWER_WITHIN_S: Final = 60.0
WARM_UP: Final = 0.02
"""Share of the bodies after which memory is looked at first: what is loaded at first use is there then."""
PROBES: Final = tuple(f"probe-{n}" for n in range(5))
_SHOWN_S: Final = 15.0


@dataclass(slots=True)
class Sent:
    """What became of the bodies. `memory_mb` has three figures of each process: beginning, middle, end."""

    bodies: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    failed: int = 0
    lost: int = 0
    otherwise: list[str] = field(default_factory=list)
    stale: int = 0
    tracebacks: list[str] = field(default_factory=list)
    memory_mb: dict[str, list[float]] = field(default_factory=dict)
    probes: int = 0


def send_bodies(
    count: int, *, connections: int = 32, seed: int = 1, console: Console | None = None, folder: Path | None = None
) -> Sent:
    """Start a stack, send it so many bodies over so many connections, and return what became of them."""
    with tempfile.TemporaryDirectory(prefix="nextclick-fuzz-") as made:
        home = folder or Path(made)
        with running_shop(home) as stack:
            sent = asyncio.run(_send(stack, count, connections, seed, (console or Console()).print))
            sent.tracebacks = tracebacks_in(home / "logs")
            return sent


async def _send(stack: Stack, count: int, connections: int, seed: int, say: Callable[[str], object]) -> Sent:
    sent, asking = Sent(), Asking(seed, time.time_ns() // 1_000_000)
    probe = Probe(stack)
    await asyncio.to_thread(probe.begin)
    began = said = time.monotonic()
    looks = [round(count * share) for share in (WARM_UP, 0.5, 1.0)]
    while sent.bodies < count:
        some = min(PROBE_EVERY, count - sent.bodies)
        share, rest = divmod(some, connections)
        senders = [_Sender(stack.port, asking, sent) for _ in range(connections)]
        await asyncio.gather(*(one.send(share + (at < rest)) for at, one in enumerate(senders)))
        sent.bodies += some
        for found in await asyncio.to_thread(probe.look):
            sent.otherwise.append(found)
            say(f"after {sent.bodies:,} bodies a valid visitor was answered otherwise: {found}")
        sent.probes += 1
        while looks and sent.bodies >= looks[0]:
            looks.pop(0)
            for name, megabytes in memory_of(stack).items():
                sent.memory_mb.setdefault(name, []).append(megabytes)
        if time.monotonic() - said > _SHOWN_S:
            said = time.monotonic()
            so_far = f"{sent.bodies:,} of {count:,} bodies, {sent.bodies / (said - began):,.0f}/s"
            say(f"{so_far}, {sent.failed} failed, {sent.lost} lost, {len(sent.otherwise)} otherwise")
    sent.seconds = time.monotonic() - began
    sent.otherwise += await asyncio.to_thread(probe.end)
    sent.stale = probe.stale
    await asyncio.to_thread(probe.close)
    return sent


class _Sender:
    """One connection at a time: asks, waits for the answer, and connects again where the gateway has closed it."""

    def __init__(self, port: int, asking: Asking, sent: Sent) -> None:
        self._port, self._asking, self._sent = port, asking, sent
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, count: int) -> None:
        for _ in range(count):
            wire = self._asking.next()
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    answer, keeps = await self._exchange(wire)
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                self._count_lost(wire, error)
                await self._close()
                continue
            self._count(wire, answer)
            if not keeps:
                await self._close()
        await self._close()

    async def _exchange(self, wire: bytes) -> tuple[HttpAnswer, bool]:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        assert self._reader is not None
        self._writer.write(wire)
        received = b""
        while True:
            piece = await self._reader.read(1 << 20)
            received += piece
            if wire.startswith(b"HEAD ") and b"\r\n\r\n" in received:
                return HttpAnswer(int(received[9:12]), received, b""), False
            found = parse_answer(received)
            if found is not None:
                return found
            if not piece:
                raise EOFError("closed before an answer")

    async def _close(self) -> None:
        if self._writer is not None:
            writer, self._reader, self._writer = self._writer, None, None
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _count(self, wire: bytes, answer: HttpAnswer) -> None:
        self._sent.statuses[answer.status] += 1
        if answer.status >= 500 and answer.status != 503:
            self._sent.failed += 1
            if len(self._sent.failures) < 20:
                self._sent.failures.append(f"{wire[:600]!r}: {answer.body[:300]!r}")

    def _count_lost(self, wire: bytes, error: Exception) -> None:
        self._sent.lost += 1
        if len(self._sent.failures) < 20:
            self._sent.failures.append(f"{wire[:600]!r}: {error!r}")


class Probe:
    """Valid requests between the others, of items and sessions that no body names: each is answered as before."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._client = stack, Client(stack.url, timeout_s=60.0)
        self._number = self.stale = 0
        self._before: Any = None

    def begin(self) -> None:
        lines = [orjson.dumps({"item_id": name, "title": name, "category": "probe", "price": 5.0}) for name in PROBES]
        taken = self._client.put_items(lines)
        assert taken["visible"], taken
        self._before = self._answers()

    def look(self) -> list[str]:
        """Return what is answered otherwise than at the beginning."""
        try:
            now = self._answers()
        except Exception as error:  # whatever it is, it was not so before
            return [f"{error!r:.500}"]
        return [] if now == self._before else [f"expected {self._before!r:.300}, got {now!r:.300}"]

    def end(self) -> list[str]:
        """Return which flow or follower does not go on."""
        found = self.look()
        ready = self._client._call("GET", "/readyz")
        found += [f"{name} is not followed" for name, table in ready["tables"].items() if not table["following"]]
        assert self._stack.supervisor is not None
        found += [
            f"{one.name} was restarted {one.restarts} times" for one in self._stack.supervisor.children if one.restarts
        ]
        return found

    def close(self) -> None:
        self._client.close()

    def _answers(self) -> Any:
        """Click twice in a new session, change an item, and ask: flows, followers and the pipeline take part."""
        self._number += 1
        session, client = f"probe-{self._number}", self._client
        now_ms = time.time_ns() // 1_000_000
        clicks = [
            {
                "v": 1,
                "event_id": f"{session}-{n}",
                "type": "view",
                "session_id": session,
                "item_id": PROBES[n],
                "ts": now_ms,
            }
            for n in range(2)
        ]
        taken = client.send_events(clicks)
        stocked = client.set_stock({PROBES[4]: self._number})
        ask = partial(client.recommend, "search", session, candidates=list(PROBES), limit=5, after=taken["token"])
        answer = ask()
        if answer.get("stale"):  # a busy machine: the flows have not come by yet, and the answer says so
            self.stale += 1
            answer = ask()
        shown = client.item(PROBES[4])
        return (
            (taken["accepted"], taken["rejected"]),
            (stocked["accepted"], stocked["visible"]),
            (answer["session"]["events"], answer.get("stale"), answer["degraded"]),
            sorted(one["product_id"] for one in answer["recommendations"]),
            (shown["stock"] - self._number, shown["title"]),
        )


def memory_of(stack: Stack) -> dict[str, float]:
    """Return the resident memory of each process of a stack, MB, by its name."""
    assert stack.supervisor is not None
    found = {}
    for part in stack.supervisor.parts:
        process = part.process
        if process is not None:
            with suppress(OSError):
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                found[part.name] = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return found


def tracebacks_in(logs: Path) -> list[str]:
    """Return the tracebacks in the logs of a stack, each with what stands before it."""
    found = []
    for path in sorted(logs.glob("*.log*")):
        parts = path.read_text(errors="replace").split("Traceback (most recent call last)")
        found += [f"{path.name}: {before[-300:]}Traceback{after[:2000]}" for before, after in pairwise(parts)]
    return found
