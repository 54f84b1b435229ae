"""What a process said last about why it ended, out of the end of its log. Pure."""

from __future__ import annotations

import re

LENGTH = 300

_NO_REASON = re.compile(
    r"""\s                                      # a frame of a Python traceback, or of a Rust one
    | Traceback\ \(most\ recent | The\ above\ exception\ was | During\ handling\ of\ the
    | stack\ backtrace: | thread\ '.*'\ .*panicked\ at | note:\ 
    | bytewax\.errors\.                         # says where in Bytewax; the error before it says what
    """,
    re.VERBOSE,
)


def last_words(tail: str) -> str:
    """Return the last line that tells a reason, at most `LENGTH` characters of it; the last one when none does."""
    lines = [line for line in tail.splitlines() if line.strip()]
    reasons = (line for line in reversed(lines) if not _NO_REASON.match(line))
    return next(reasons, lines[-1] if lines else "(no log)").strip()[:LENGTH]
