"""Taking a batch of which some entries cannot be taken: these are left out alone, and why is said once.

The one rule of every follower, flow and builder: an entry that cannot be taken never keeps the others from being
taken, whatever it raises. What is wrong with the surroundings (Redis or the log out of reach, a full disk, no memory)
is no entry's fault, and is raised as ever.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, TypeVar

from contracts.errors import NextclickError

T = TypeVar("T")

OUTAGES: Final = (NextclickError, OSError, MemoryError)
"""What no entry is to blame for. `except OUTAGES: raise` stands before every `except Exception` that leaves one out."""

_LINES_EACH: Final = 20
"""Lines about errors of one kind; after that, only when their number has doubled."""
_REMEMBERED: Final = 1000
"""Lines that are not said a second time."""
_LONGEST: Final = 300
"""Characters of an error that are shown."""


def take_each(
    entries: Sequence[T], take: Callable[[Sequence[T]], object], leave_out: Callable[[T, Exception], object]
) -> int:
    """Take entries in order, all at once if that can be; returns how many could not be taken.

    Where `take` raises, each half is taken by itself, and so on down to the entries that cannot be taken: of n entries,
    one costs about log n further calls and 2 n entries taken again. So `take` must leave nothing behind when it raises,
    or do no harm when it is called again. `leave_out` is told of an entry and what it raised, before any later entry is
    taken. Raises OUTAGES as they come.
    """
    try:
        take(entries)
        return 0
    except OUTAGES:
        raise
    except Exception as error:
        if not entries:
            raise
        raised = error
    if len(entries) == 1:
        leave_out(entries[0], raised)
        return 1
    del raised
    middle = len(entries) // 2
    return take_each(entries[:middle], take, leave_out) + take_each(entries[middle:], take, leave_out)


def reason_of(error: BaseException) -> str:
    """Return what an error says, in one line: a ValueError explains itself, any other is named."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # the text of some holds what was wrong, which may be what cannot be shown
        text = ""
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return text if text and isinstance(error, ValueError) else f"{type(error).__name__}: {text}".removesuffix(": ")


class LeftOutLog:
    """Says what was left out: each thing once, and for an error that nobody expected the traceback, once.

    Errors of one kind are those of one type from one place. Of a kind that keeps coming only every doubling is said.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._kinds: Counter[tuple[type[BaseException], str, int]] = Counter()
        self._said: dict[tuple[str, str], None] = {}

    def say(self, what: str, error: BaseException) -> None:
        """Say that `what` is left out, because of `error`."""
        reason = reason_of(error)
        if (what, reason) in self._said:
            return
        self._said[what, reason] = None
        if len(self._said) > _REMEMBERED:
            del self._said[next(iter(self._said))]
        kind = (type(error), *_place(error.__traceback__))
        self._kinds[kind] += 1
        times = self._kinds[kind]
        if times > _LINES_EACH and times & (times - 1):
            return
        count = f" ({times} like it so far)" if times > _LINES_EACH else ""
        unexpected = times == 1 and not isinstance(error, ValueError)
        self._log.error("%s is left out: %s%s", what, reason, count, exc_info=error if unexpected else None)


def _place(trace: TracebackType | None) -> tuple[str, int]:
    """Return the file and line that raised."""
    if trace is None:
        return "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno
