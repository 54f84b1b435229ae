"""OTTO's sessions (2022), one a line of JSON: `{"session": .., "events": [{"aid": .., "ts": .., "type": ..}]}`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from contracts.events import shown as shortened
from replay.importers.layout import Broken, Hours, OnBroken, Progress
from replay.importers.rows import BadField, event_json, event_type, json_id, json_text, milliseconds
from replay.importers.sources import BOM, expect

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
        """Yield the sessions' events; `event_id` is `otto-<mark>-<line>-<n>`. A broken event spoils itself only."""
        file = expect(source, FILES)
        progress("read", 0, 1)
        prefix = f"otto-{file.mark()}"
        with file.open_bytes() as lines:
            for number, raw in enumerate(lines, start=1):
                line = raw.removeprefix(BOM) if number == 1 else raw
                if line.strip():
                    yield from _session(line, f"{prefix}-{number}", Broken(str(file), number, "", ""), on_broken)
        progress("read", 1, 1)


def _session(line: bytes, prefix: str, at: Broken, on_broken: OnBroken) -> Iterator[tuple[int, bytes]]:
    try:
        session_id, events = _opened(line)
    except BadField as bad:
        on_broken(replace(at, column=bad.column, problem=str(bad)))
        return
    for place, event in enumerate(events):
        try:
            yield _event(f"{prefix}-{place + 1}", session_id, event)
        except BadField as bad:
            on_broken(replace(at, column=f"events[{place}].{bad.column}", problem=str(bad)))


def _opened(line: bytes) -> tuple[str, list[Any]]:
    try:
        document = orjson.loads(line.rstrip())
    except orjson.JSONDecodeError as error:
        raise BadField(str(error.colno), f"expected JSON, got {line[:40]!r} ({error.msg})") from None
    if not isinstance(document, dict) or not isinstance(document.get("events"), list):
        raise BadField("events", f"expected a session with a list of events, got {line[:60]!r}")
    return json_id("session", document.get("session")), document["events"]


def _event(event_id: str, session_id: str, event: Any) -> tuple[int, bytes]:
    if not isinstance(event, dict):
        raise BadField("aid", f"expected an object with aid, ts and type, got {shortened(event, 60)}")
    return event_json(
        event_id,
        event_type("type", json_text("type", event.get("type"), "clicks, carts or orders"), TYPES),
        session_id,
        json_id("aid", event.get("aid")),
        milliseconds("ts", json_text("ts", event.get("ts"), "epoch milliseconds (13 digits)")),
    )
