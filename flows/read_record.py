"""Reading one record of the log, whatever is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from contracts.events import Rejection
from contracts.left_out import reason_of

UNREADABLE = "unreadable"
"""Reason of a record that no reader expected: nested too deep, say."""

R = TypeVar("R")
T = TypeVar("T")


def read_record(decode: Callable[[R], T], record: R) -> T | Rejection:
    """Return what `decode` makes of a record; a rejection (`unreadable`) for one that makes it raise."""
    try:
        return decode(record)
    except MemoryError:
        raise
    except Exception as error:
        return Rejection(UNREADABLE, reason_of(error))
