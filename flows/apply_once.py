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
    while True:
        try:
            attempt()
            cursor.applied(batch.partition, batch.next)
            return len(batch.messages)
        except StateConflict as conflict:
            log.warning("%s", conflict)
            cursor.rewind(batch.partition, conflict.stored)
            return 0
        except (LogUnavailable, StateUnavailable) as outage:
            log.warning("waiting: %s", outage)
            sleep(pause_ms / 1000)
