"""What the ledger costs: events read into it and rows written, of one core, and the memory that writing adds."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from contracts.plain_events import PlainEvent
from contracts.settings import ServiceSettings
from nextclick.bench.report import BenchRow
from replay.ledger.export import Ledger, Wanted

ITEMS = 10
START_MS = 1_764_000_000_000
_AT_ONCE = 2000


def events(pages: int) -> Iterator[PlainEvent]:
    """Yield pages of ten items, eight a session, a third of them of users, and a click for every fourth."""
    for n in range(pages):
        session, user, ts = f"s{n // 8}", f"u{n // 80}" if n % 3 == 0 else None, START_MS + 100 * n
        items = tuple(f"i{(7 * n + k) % 5000}" for k in range(ITEMS))
        own = {"session_id": session, "user_id": user}
        shown = {"request_id": f"r{n}", "items": items, "context": {"scenario": "homepage", "version": 1}}
        yield PlainEvent(v=1, event_id=f"impression-r{n}", type="impression", ts=ts, **own, **shown)  # type: ignore[arg-type]
        if n % 4 == 0:
            yield PlainEvent(v=1, event_id=f"e{n}", type="view", ts=ts + 5, item_id=items[0], **own)  # type: ignore[arg-type]


def ledger_rows(pages: int) -> Iterator[BenchRow]:
    """Yield what reading and writing cost."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger", ServiceSettings(), Wanted(settle_ms=7 * 86_400_000), lambda _: None)
        count, spent, part = 0, 0.0, list[tuple[int, PlainEvent]]()
        for at, event in enumerate(events(pages), 1):
            part.append((at, event))
            if len(part) == _AT_ONCE:
                began = time.process_time()
                ledger.take("impressions:0", 0, at + 1, part)
                spent, count, part = spent + time.process_time() - began, count + len(part), []
        before, began = _peak_mb(), time.process_time()
        ledger.write(also_open=True)
        wrote = time.process_time() - began
        rows = sum(hour.rows for hour in ledger.manifest.hours.values())
        ledger.close()
    yield BenchRow("ledger: events read", count / spent, "a second of a core")
    yield BenchRow("ledger: rows written", rows / wrote, "a second of a core")
    yield BenchRow("ledger: memory that writing adds", _peak_mb() - before, "MB")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
