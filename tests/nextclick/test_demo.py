"""The demo on a machine that others use."""

from __future__ import annotations

from typing import Any, Final

from nextclick.stack.demo import whole

WHOLE: Final[dict[str, Any]] = {"degraded": []}
HURRIED: Final[dict[str, Any]] = {"degraded": ["retrieval_order"]}


def test_an_answer_that_left_a_part_out_is_asked_for_again() -> None:
    answers = iter([HURRIED, WHOLE])
    assert whole(lambda: next(answers), HURRIED, 30.0) == WHOLE
    assert next(answers, None) is None


def test_an_answer_that_is_whole_is_not_asked_for_again() -> None:
    assert whole(lambda: HURRIED, WHOLE, 30.0) == WHOLE


def test_a_part_that_is_always_left_out_is_shown_in_the_end() -> None:
    assert whole(lambda: HURRIED, HURRIED, 0.3) == HURRIED
