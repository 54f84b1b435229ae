"""How the last retrainings of a folder of models went, by what came of them: `<folder>/retrained.json`.

All are noted there, whoever began them: somebody, a timer, or the stack.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from contracts.clock import wall_clock_ms
from contracts.errors import OutputRefused
from contracts.outputs import FileKind, read_document, written_aside
from contracts.retrain_status import OUTCOMES, Outcome

FILE: Final = "retrained.json"


@dataclass(frozen=True, slots=True)
class Retrained:
    """The last retraining of an outcome: when it ended, in epoch milliseconds, and its seconds."""

    at_ms: int
    took_s: float


def read_retrained(folder: Path) -> dict[Outcome, Retrained]:
    """Return the last retraining of each outcome that there was; what cannot be read is none."""
    document, found = read_document(folder / FILE) or {}, {}
    for outcome in OUTCOMES:
        one = document.get(outcome)
        if isinstance(one, Mapping) and _is_number(one.get("at_ms")) and _is_number(one.get("took_s")):
            found[outcome] = Retrained(int(one["at_ms"]), float(one["took_s"]))
    return found


def note_retrained(folder: Path, outcome: Outcome, *, at_ms: int, took_s: float) -> None:
    """Note how one went. Raises OSError, OutputRefused."""
    kept = {**read_retrained(folder), outcome: Retrained(at_ms, round(took_s, 3))}
    with written_aside(folder / FILE, _KIND) as aside:
        aside.write_bytes(orjson.dumps(kept) + b"\n")


@contextmanager
def noting(folder: Path) -> Iterator[Callable[[Outcome], None]]:
    """Note how the retraining inside goes, whatever ends it: `failed` unless another outcome is told. That it cannot be
    noted fails nothing.
    """
    began_s, told = time.monotonic(), list[Outcome]()
    try:
        yield told.append
    finally:
        if folder.is_dir():
            with suppress(OSError, OutputRefused):
                outcome = told[-1] if told else "failed"
                note_retrained(folder, outcome, at_ms=wall_clock_ms(), took_s=time.monotonic() - began_s)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


_KIND: Final = FileKind("a note of retrainings", lambda path: read_document(path) is not None)
