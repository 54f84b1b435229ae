"""OTTO's sessions (2022), one a line of JSON: `{"session": .., "events": [{"aid": .., "ts": .., "type": ..}]}`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from replay.importers.layout import Broken, Hours, OnBroken, Progress
from replay.importers.rows import BadField, event_json, event_type, identifier, milliseconds
from replay.importers.sources import expect

FILES = ("otto-recsys-train.jsonl", "train.jsonl", "train_sessions.jsonl", "otto-recsys-test.jsonl", "test.jsonl")
TYPES = {"clicks": "view", "carts": "cart", "orders": "purchase"}


@dataclass(frozen=True, slots=True)
class Otto:
    """`otto`: a .jsonl file of sessions (also .gz, .zst), or a folder or zip that holds one."""

    name: str = "otto"
    layout: str = "OTTO: otto-recsys-train.jsonl, one session a line"
    picks_hours: bool = False
    idle_gap_ms: int | None = None

    def events(
        self, source: Path, hours: Hours, on_broken: OnBroken, progress: Progress
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the sessions' events; `event_id` is `otto-<session>-<n>`. A broken event spoils itself only."""
        file = expect(source, FILES)
        progress("read", 0, 1)
        with file.open_bytes() as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield from _session(line, str(file), number, on_broken)
        progress("read", 1, 1)


def _session(line: bytes, shown: str, number: int, on_broken: OnBroken) -> Iterator[tuple[int, bytes]]:
    try:
        session_id, events = _opened(line)
    except BadField as bad:
        on_broken(Broken(shown, number, bad.column, str(bad)))
        return
    for place, event in enumerate(events):
        try:
            yield _event(session_id, place, event)
        except BadField as bad:
            on_broken(Broken(shown, number, f"events[{place}].{bad.column}", str(bad)))


def _opened(line: bytes) -> tuple[str, list[Any]]:
    try:
        document = orjson.loads(line.rstrip())
    except orjson.JSONDecodeError as error:
        raise BadField(str(error.colno), f"expected JSON, got {line[:40]!r} ({error.msg})") from None
    if not isinstance(document, dict) or not isinstance(document.get("events"), list):
        raise BadField("events", f"expected a session with a list of events, got {line[:60]!r}")
    return identifier("session", str(document.get("session") or "")), document["events"]


def _event(session_id: str, place: int, event: Any) -> tuple[int, bytes]:
    if not isinstance(event, dict):
        raise BadField("aid", f"expected an object with aid, ts and type, got {event!r:.60}")
    return event_json(
        f"otto-{session_id}-{place + 1}",
        event_type("type", str(event.get("type")), TYPES),
        session_id,
        identifier("aid", str(event.get("aid", ""))),
        milliseconds("ts", str(event.get("ts"))),
    )
