"""Cutting a visitor's clicks into sessions where the layout has none: closer than the idle gap is one session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

SWEEP_EVERY = 100_000


def cut_sessions(ordered: Iterable[bytes], idle_gap_ms: int) -> Iterator[bytes]:
    """Give every event, which come in time order, the session `<user id>-<epoch ms of its first event>`.

    An event without a user id keeps the session id that it has. Memory holds the visitors of the last idle gap.
    """
    open_sessions: dict[str, tuple[int, int]] = {}  # user: first and last event, ms
    for count, raw in enumerate(ordered, start=1):
        fields = orjson.loads(raw)
        user, ts_ms = fields.get("user_id"), fields["ts"]
        if user is None:
            yield raw
            continue
        first_ms, last_ms = open_sessions.get(user, (ts_ms, ts_ms))
        if ts_ms - last_ms > idle_gap_ms:
            first_ms = ts_ms
        open_sessions[user] = (first_ms, ts_ms)
        fields["session_id"] = f"{user}-{first_ms}"
        yield orjson.dumps(fields)
        if count % SWEEP_EVERY == 0:
            open_sessions = {name: span for name, span in open_sessions.items() if ts_ms - span[1] <= idle_gap_ms}
