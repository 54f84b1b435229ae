"""Payloads of other trackers, one a line, by the mapping of the door (`connect.adapters`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from connect.adapters import ADAPTERS, Mapped
from contracts.events import Rejection
from contracts.plain_events import check_event
from contracts.pointers import pointer
from replay.importers.layout import Broken, Hours, OnBroken, Progress
from replay.importers.rows import LAST_MS
from replay.importers.sources import BOM, expect


@dataclass(frozen=True, slots=True)
class Collected:
    """One vendor's payloads: a .jsonl file (also .gz, .zst), or a folder or zip that holds `<vendor>.jsonl`.

    Of `ga4` a line may be a row of the BigQuery export, of `matomo` a request as it stands in an address. Ids of events
    are those that the door gives, but of events that say when they happened alone: a line that does not is broken.
    """

    name: str
    picks_hours: bool = False
    idle_gap_ms: int | None = None

    @property
    def layout(self) -> str:
        return f"{self.name}: one payload a line, as it is sent to /api/collect/{self.name}"

    def events(
        self, source: Path, hours: Hours, on_broken: OnBroken, progress: Progress
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the events of each payload. A broken event spoils itself only; what is about no item is left out."""
        file = expect(source, (f"{self.name}.jsonl", f"{self.name}.json", f"{self.name}.log"))
        progress("read", 0, 1)
        with file.open_bytes() as lines:
            for number, raw in enumerate(lines, start=1):
                line = (raw.removeprefix(BOM) if number == 1 else raw).strip()
                if line:
                    yield from self._line(line, Broken(str(file), number, "", ""), on_broken)
        progress("read", 1, 1)

    def _line(self, line: bytes, at: Broken, on_broken: OnBroken) -> Iterator[tuple[int, bytes]]:
        try:
            payload = self._payload(line)
        except ValueError as error:
            on_broken(replace(at, problem=f"expected JSON, got {line[:40]!r} ({error})"))
            return
        for part in ADAPTERS[self.name].read(payload, None):
            yield from _taken(part, replace(at, column=pointer(part.place)), on_broken)

    def _payload(self, line: bytes) -> Any:
        """Decode a line. Raises ValueError."""
        if self.name == "matomo" and line[:1] not in (b"{", b"["):
            return {"requests": [line.decode()]}
        return orjson.loads(line)


def _taken(part: Mapped, at: Broken, on_broken: OnBroken) -> Iterator[tuple[int, bytes]]:
    if part.refused is not None:
        on_broken(replace(at, problem=str(part.refused)))
    for document in part.events:
        event = check_event(document, now_ms=LAST_MS)
        if isinstance(event, Rejection):
            on_broken(replace(at, problem=str(event)))
        elif event.consent is not False:  # as the door does, it keeps nothing of them
            yield event.ts, orjson.dumps(document)
