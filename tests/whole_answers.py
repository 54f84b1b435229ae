"""An answer of a stack that is whole again after an outage."""

from __future__ import annotations

import time
from typing import Any

from nextclick.stack.client import Client

PATIENT_S = 60.0


def whole_answer(client: Client, session: str, token: str) -> dict[str, Any]:
    """Return the first answer that knows what the token is of and lacks nothing: each table comes back by itself."""
    until = time.monotonic() + PATIENT_S
    while True:
        answer = client.recommend("homepage", session, after=token)
        if answer["degraded"] == [] and "stale" not in answer:
            return answer
        assert time.monotonic() < until, answer
        time.sleep(0.1)
