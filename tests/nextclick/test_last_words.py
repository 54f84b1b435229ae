"""The reason that a log ends with, whatever stands around it."""

from __future__ import annotations

import pytest

from nextclick.stack.last_words import last_words

PYTHON = """going on after 0.3 s
Traceback (most recent call last):
  File "flow.py", line 3, in write
    raise OSError(28, "No space left on device")
OSError: [Errno 28] No space left on device
"""
BYTEWAX = f"""{PYTHON}
The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "run.py", line 355, in <module>
    cli_main(**kwargs)
bytewax.errors.BytewaxRuntimeError: (src/outputs.rs:554:34): error writing output batch
"""
RUST = """thread '<unnamed>' panicked at src/recovery.rs:523:53:
called `Result::unwrap()` on an `Err` value: SqliteFailure(Some("disk I/O error"))
stack backtrace:
   0: rust_begin_unwind
             at library/std/src/panicking.rs:597:5
   1: core::panicking::panic_fmt
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.
"""


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ("", "(no log)"),
        ("up\nno such table\n\n", "no such table"),
        (PYTHON, "OSError: [Errno 28] No space left on device"),
        (BYTEWAX, "OSError: [Errno 28] No space left on device"),
        (RUST, 'called `Result::unwrap()` on an `Err` value: SqliteFailure(Some("disk I/O error"))'),
        ("  File only\n   1: frames\n", "1: frames"),
        ("x" * 1000, "x" * 300),
    ],
    ids=["none", "plain", "python", "bytewax", "rust", "frames", "long"],
)
def test_the_last_line_that_tells_a_reason_is_found(tail: str, said: str) -> None:
    assert last_words(tail) == said
