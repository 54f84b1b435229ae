"""Applying a micro-batch whatever happens to Redis and the log meanwhile: waited out, or read again in place. A record
that cannot be applied is left out alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Generic, Protocol, TypeVar

from contracts.errors import LogUnavailable, StateConflict, StateUnavailable
from contracts.events import Rejection
from contracts.left_out import OUTAGES, LeftOutLog, reason_of, take_each
from eventlog.contract import Batch, DeadLetter, Message
from flows.log_source import Cursor
from flows.outage import OUTAGE

log = logging.getLogger(__name__)

BAD_RECORD = "bad_record"
"""Reason of a record that was read and cannot be applied, whatever it raised."""


class Decoded(Protocol):
    """A batch as a flow's first step leaves it."""

    @property
    def batch(self) -> Batch: ...


StillLogged = Callable[[Batch], bool]
"""Tells whether the log holds a batch's records as they were read. Raises LogUnavailable."""


class RecordsReplaced(StateConflict):
    """A log that was out holds other records in the place of those that were read."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(f"{batch.topic} partition {batch.partition}", batch.start, batch.start)

    def __str__(self) -> str:
        return (
            f"{self.place}: Redis lost records from {self.stored} on, which had been read and not applied: reading "
            "what is there now"
        )


def always_logged(_: Batch) -> bool:
    """What is true of a log that loses nothing."""
    return True


D = TypeVar("D", bound=Decoded)
R = TypeVar("R")


class ApplyOnce(Generic[D]):
    """Applies the batches of one flow. For one thread.

    `apply` takes a decoded batch and further dead letters to write with it, all or nothing. `decode` never raises.
    """

    def __init__(
        self,
        decode: Callable[[Batch], D],
        apply: Callable[[D, Sequence[DeadLetter]], None],
        cursor: Cursor,
        *,
        clock_ms: Callable[[], int],
        pause_ms: int,
        sleep: Callable[[float], None] = time.sleep,
        still_logged: StillLogged = always_logged,
    ) -> None:
        self._decode, self._apply, self._cursor, self._clock_ms = decode, apply, cursor, clock_ms
        self._still_logged = still_logged
        self._pause_s, self._sleep = pause_ms / 1000, sleep
        self._said = LeftOutLog(log)

    def __call__(self, decoded: D) -> int:
        """Apply until it commits or is refused as out of place; return how many messages were applied.

        An unreachable Redis or log is waited out with the batch in hand, which is dropped if the log then holds other
        records in its place. A refused batch is dropped: its partition is
        read again from the stored offset, so whatever of it is not applied yet comes back. A batch that raises anything
        else is applied in halves, down to the record that raises it: that one becomes a dead letter (`bad_record`).
        """
        batch = decoded.batch
        done, left_out = batch.start, 0

        def take(messages: Sequence[Message]) -> None:
            nonlocal done
            whole = len(messages) == len(batch.messages)
            part = decoded if whole else self._decode(_part(batch, done, messages))
            self._patiently(part, ())
            done = part.batch.next

        def leave_out(message: Message, error: Exception) -> None:
            nonlocal done, left_out
            letter = self._letter(batch, message, error)
            part = replace(_part(batch, done, [message]), messages=[])
            self._patiently(self._decode(part), [letter])
            done, left_out = part.next, left_out + 1

        try:
            take_each(batch.messages, take, leave_out)
        except StateConflict as conflict:
            log.warning("%s", conflict)
            self._cursor.rewind(batch.partition, conflict.stored)
            return 0
        self._cursor.applied(batch.partition, batch.next)
        return len(batch.messages) - left_out

    def _letter(self, batch: Batch, message: Message, error: Exception) -> DeadLetter:
        self._said.say(f"{batch.topic}:{batch.partition}:{message.offset}", error)
        why = Rejection(BAD_RECORD, reason_of(error))
        return batch.letter(message.offset, message.value, why, now_ms=self._clock_ms())

    def _patiently(self, decoded: D, letters: Sequence[DeadLetter]) -> None:
        check = partial(expect_logged, [decoded.batch], self._still_logged)
        patiently(lambda: self._apply(decoded, letters), self._pause_s, self._sleep, check)


class ApplyTogether(Generic[D]):
    """Applies the batches of one reading, each of another partition, in one go. For one thread.

    `apply_all` returns a conflict for each batch that is out of place. Where it raises anything but an outage, the
    batches are applied one by one, by `once`.
    """

    def __init__(
        self,
        apply_all: Callable[[Sequence[D]], Sequence[StateConflict | None]],
        once: ApplyOnce[D],
        cursor: Cursor,
        *,
        pause_ms: int,
        sleep: Callable[[float], None] = time.sleep,
        still_logged: StillLogged = always_logged,
    ) -> None:
        self._still_logged = still_logged
        self._apply_all, self._once, self._cursor = apply_all, once, cursor
        self._pause_s, self._sleep = pause_ms / 1000, sleep

    def __call__(self, batches: Sequence[D]) -> int:
        """Apply until each batch commits or is refused as out of place; return how many messages were applied."""
        check = partial(expect_logged, [one.batch for one in batches], self._still_logged)
        try:
            conflicts = patiently(lambda: self._apply_all(batches), self._pause_s, self._sleep, check)
        except RecordsReplaced as replaced:
            log.warning("%s", replaced)
            for decoded in batches:  # where one was committed all the same, its offset says so
                self._cursor.rewind(decoded.batch.partition, decoded.batch.start)
            return 0
        except OUTAGES:
            raise
        except Exception:
            return sum(self._once(decoded) for decoded in batches)
        applied = 0
        for decoded, conflict in zip(batches, conflicts, strict=True):
            batch = decoded.batch
            if conflict is not None:
                log.warning("%s", conflict)
                self._cursor.rewind(batch.partition, conflict.stored)
            else:
                self._cursor.applied(batch.partition, batch.next)
                applied += len(batch.messages)
        return applied


def patiently(
    call: Callable[[], R], pause_s: float, sleep: Callable[[float], None], check: Callable[[], None] = lambda: None
) -> R:
    """Call again, after a pause each time, while Redis or the log cannot be reached; anything else is raised. After an
    outage `check` is called first. The first failure of Redis is not said, and tried again at once: it may be back.
    """
    outage, failed = OUTAGE.part(), False
    try:
        while True:
            try:
                if failed:
                    check()
                return call()
            except (LogUnavailable, StateUnavailable) as error:
                if isinstance(error, StateUnavailable) and not failed:
                    OUTAGE.doubted()
                else:
                    outage.failed(error)
                    sleep(pause_s)
                failed = True
    finally:
        outage.over()


def expect_logged(batches: Sequence[Batch], still_logged: StillLogged) -> None:
    """Raise RecordsReplaced for the first batch whose records the log no longer holds."""
    for batch in batches:
        if not still_logged(batch):
            raise RecordsReplaced(batch)


def _part(batch: Batch, start: int, messages: Sequence[Message]) -> Batch:
    """Return the part of a batch that begins at `start`; up to the batch's end when it holds the last message."""
    last = messages[-1].offset
    end = batch.next if last == batch.messages[-1].offset else last + 1
    return replace(batch, start=start, next=end, messages=messages)
