"""What a target answered, question by question: passed on as it comes, and kept in a file beside a run's result.

The file is `.jsonl.zst`, a question a line: its place in the schedule, the session, the items, why each is there, and
what the target's rules dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import zip_longest
from pathlib import Path

import msgspec
import orjson
import zstandard

from contracts.errors import ImportFormatError
from contracts.outputs import lines_kind, written_aside
from eventlog.packed import opened
from replay.engine.schedule import Page, Planned, clicked_item
from replay.measure.live import Questions, Shown
from replay.report.diff_lists import A, Answer, B, Comparing, Difference, ListsCompared, rules_of

NO_REASON = "none given"
OnAnswer = Callable[[int, Answer], None]
"""Called with a question's place in the schedule, and its answer."""

ANSWERS = lines_kind(
    "answers of a replay", lambda first: {"question", "session_id", "items"} <= first.keys(), may_be_empty=True
)
_NAMES = re.compile(r'"[^"]*"')
"""Names in a reason, such as the title of an item: reasons are counted without them."""


class _Line(msgspec.Struct):
    """An answer on file."""

    question: int
    session_id: str
    items: tuple[str, ...]
    reasons: tuple[str, ...]
    hit: bool
    dropped: dict[str, str] | None
    counts: dict[str, int] | None


_decode = msgspec.json.Decoder(_Line).decode

_planned: ContextVar[Planned] = ContextVar("planned")


class LoggedQuestions:
    """Asks before clicks as other questions do, and passes on what was answered."""

    def __init__(self, questions: Questions, on_answer: OnAnswer) -> None:
        self._questions, self._on_answer = questions, on_answer
        self.limit = questions.limit

    def request(self, planned: Planned, page: Page) -> tuple[bytes, bytes]:
        _planned.set(planned)  # the answer is read in the task that asked
        return self._questions.request(planned, page)

    def read(self, body: bytes) -> Shown:
        shown, planned = self._questions.read(body), _planned.get()
        reasons = shown.reasons or [NO_REASON] * len(shown.items)
        answer = Answer(
            planned.session_id,
            tuple(shown.items),
            tuple(_NAMES.sub("…", reason or NO_REASON) for reason in reasons),
            hit=clicked_item(planned.fields) in shown.items,
            dropped=rules_of(shown.dropped_items) if shown.dropped_items is not None else None,
            counts=shown.dropped,
        )
        self._on_answer(planned.index, answer)
        return shown


@contextmanager
def answers_written(path: Path) -> Iterator[OnAnswer]:
    """Write a file of answers; gives what takes them. The file appears whole, when the run has come to its end."""
    with (
        written_aside(path, ANSWERS) as part,
        part.open("xb") as file,
        zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as sink,
    ):

        def write(question: int, answer: Answer) -> None:
            sink.write(orjson.dumps({"question": question, **_as_json(answer)}, option=orjson.OPT_APPEND_NEWLINE))

        yield write


def read_answers(path: Path) -> Iterator[tuple[int, Answer]]:
    """Yield what `answers_written` wrote. Raises ImportFormatError for anything else."""
    number = 0
    try:
        with opened(path, ".zst") as unpacked:
            for number, line in enumerate(unpacked, start=1):  # noqa: B007 - told in the error
                one = _decode(line)
                yield (
                    one.question,
                    Answer(one.session_id, one.items, one.reasons, one.hit, one.dropped, one.counts),
                )
    except ImportFormatError as error:
        raise ImportFormatError(f"{path}:{number + 1}: expected answers of a replay: {error}") from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImportFormatError(f"{path}:{number + 1}: expected answers of a replay, got {error!r}") from error


def compare_answers(
    a: Path, b: Path, *, on_difference: Callable[[Difference], None] = lambda one: None
) -> ListsCompared:
    """Compare the answers of two runs of one schedule. Holds what one file is ahead of the other."""
    comparing = Comparing(on_difference)
    for ours, theirs in zip_longest(read_answers(a), read_answers(b)):
        if ours is not None:
            comparing.add(A, *ours)
        if theirs is not None:
            comparing.add(B, *theirs)
    return comparing.result()


def _as_json(answer: Answer) -> dict[str, object]:
    return {name: getattr(answer, name) for name in ("session_id", "items", "reasons", "hit", "dropped", "counts")}
