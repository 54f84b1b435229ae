"""Applying a micro-batch whatever happens to Redis and the log meanwhile: waited out, or read again in place."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from contracts.errors import LogUnavailable, StateConflict, StateUnavailable
from eventlog.contract import Batch
from flows.log_source import Cursor

log = logging.getLogger(__name__)


def apply_once(
    attempt: Callable[[], None],
    batch: Batch,
    cursor: Cursor,
    *,
    pause_ms: int,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Call `attempt` until it commits or is refused as out of place; return how many messages it applied.

    An unreachable Redis or log is waited out with the batch in hand. A refused batch is dropped: its partition is
    read again from the stored offset, so whatever of it is not applied yet comes back.
    """
    began, waited = time.monotonic(), False
    while True:
        try:
            attempt()
            if waited:
                log.warning("going on after %.1f s", time.monotonic() - began)
            cursor.applied(batch.partition, batch.next)
            return len(batch.messages)
        except StateConflict as conflict:
            log.warning("%s", conflict)
            cursor.rewind(batch.partition, conflict.stored)
            return 0
        except (LogUnavailable, StateUnavailable) as outage:
            if not waited:  # once an outage: it may last, and the log file has no bound
                log.warning("waiting: %s", outage)
                waited = True
            sleep(pause_ms / 1000)
