"""One entry that cannot be taken never keeps the others from being taken."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import StateUnavailable
from contracts.left_out import LeftOutLog, reason_of, take_each
from retrieval.open_sessions import OpenSession, OpenSessions
from retrieval.trends import TrendRules

LOG = logging.getLogger("tests.left_out")


class Taken:
    """Takes numbers, all or none; those in `bad` raise."""

    def __init__(self, bad: set[int], error: Callable[[], BaseException] = lambda: KeyError("x")) -> None:
        self.bad, self.error = bad, error
        self.numbers: list[int] = []
        self.left: list[tuple[int, type[Exception]]] = []
        self.calls = self.handed = 0

    def take(self, numbers: Sequence[int]) -> None:
        self.calls += 1
        self.handed += len(numbers)
        if self.bad.intersection(numbers):
            raise self.error()
        self.numbers += numbers

    def leave_out(self, number: int, error: Exception) -> None:
        self.left.append((number, type(error)))

    def all_of(self, count: int) -> int:
        return take_each(range(count), self.take, self.leave_out)


def test_a_good_batch_is_one_call() -> None:
    taken = Taken(set())
    assert taken.all_of(1000) == 0
    assert (taken.calls, taken.numbers) == (1, list(range(1000)))


@given(count=st.integers(1, 200), bad=st.sets(st.integers(0, 199), max_size=200))
def test_all_but_the_bad_ones_are_taken_in_order(count: int, bad: set[int]) -> None:
    taken = Taken(bad)
    expected = [number for number in range(count) if number not in bad]
    assert taken.all_of(count) == count - len(expected)
    assert taken.numbers == expected
    assert taken.left == [(number, KeyError) for number in range(count) if number in bad]


def test_one_bad_one_of_thousands_costs_a_few_calls_and_not_one_each() -> None:
    taken = Taken({3333})
    assert taken.all_of(4096) == 1
    assert taken.calls <= 1 + 2 * 12
    assert taken.handed <= 3 * 4096


@pytest.mark.parametrize(
    "error", [StateUnavailable("Redis is down"), OSError("disk full"), MemoryError(), KeyboardInterrupt()]
)
def test_what_no_entry_is_to_blame_for_is_raised_as_it_comes(error: BaseException) -> None:
    taken = Taken({2}, lambda: error)
    with pytest.raises(type(error)):
        taken.all_of(4)
    assert (taken.calls, taken.left) == (1, [])


def test_an_error_is_told_in_one_line_and_named_unless_it_explains_itself() -> None:
    assert reason_of(ValueError("expected 3,\n got 4")) == "expected 3, got 4"
    assert reason_of(KeyError("item_id")) == "KeyError: 'item_id'"
    assert reason_of(RecursionError()) == "RecursionError"
    assert len(reason_of(ValueError("x" * 5000))) == 300


def test_a_traceback_is_logged_once_and_a_repeated_line_never(caplog: pytest.LogCaptureFixture) -> None:
    said = LeftOutLog(LOG)
    for number in (1, 2, 2):
        try:
            raise KeyError(number)
        except KeyError as error:
            said.say(f"row {number}", error)
    said.say("row 3", ValueError("expected more"))
    assert caplog.messages == [
        "row 1 is left out: KeyError: 1",
        "row 2 is left out: KeyError: 2",
        "row 3 is left out: expected more",
    ]
    assert [record.exc_info is not None for record in caplog.records] == [True, False, False]


def test_a_table_of_bad_rows_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    said = LeftOutLog(LOG)
    for number in range(5000):
        said.say(f"row {number}", ValueError("another codec"))
    assert len(caplog.messages) == 28  # 20, and 32, 64 ... 4096
    assert caplog.messages[-1] == "row 4095 is left out: another codec (4096 like it so far)"


ROOT = Path(__file__).parents[2]
RETRIES = {"retrieval/builder.py", "retrieval/shard.py"}
"""Where whatever was raised is tried again whole, and nothing is left out."""


def caught(handler: ast.ExceptHandler) -> set[str]:
    return {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else {"all"}


@pytest.mark.parametrize("room", ["flows", "retrieval", "state"])
def test_nothing_is_left_out_for_a_lack_of_memory(room: str) -> None:
    swallowing = []
    for path in sorted((ROOT / room).rglob("*.py")):
        for tried in [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Try)]:
            for at, handler in enumerate(tried.handlers):
                told = any(isinstance(node, ast.Raise) for node in ast.walk(handler))
                earlier = set().union(*map(caught, tried.handlers[:at]))
                if caught(handler) & {"Exception", "all"} and not told and not earlier & {"MemoryError", "OUTAGES"}:
                    swallowing.append(f"{path.relative_to(ROOT)}:{handler.lineno}")
    assert [place for place in swallowing if place.partition(":")[0] not in RETRIES] == []


class Exhausted:
    """An event that no memory is left for."""

    ts_ms, item_id, items = 0, None, ("i",)

    @property
    def event(self) -> int:
        raise MemoryError


def test_an_event_that_memory_was_short_for_is_not_left_out() -> None:
    left_out: list[object] = []

    def leave_out(what: object, _: Exception) -> None:
        left_out.append(what)

    with pytest.raises(MemoryError):
        OpenSession().take([Exhausted()], TrendRules(), 1, leave_out)  # type: ignore[list-item]
    with pytest.raises(MemoryError):
        OpenSessions(TrendRules(), 1).take([("s", Exhausted())], leave_out)  # type: ignore[list-item]
    assert left_out == []
