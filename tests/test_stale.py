"""What is kept while tests are collected is old when they run; clocks that were imported meanwhile are true."""

from __future__ import annotations

import time
from time import time as imported
from time import time_ns as imported_ns

COLLECTED_S, COLLECTED_NS = time.time(), time.time_ns()


class Kept:
    clock = time.time


def test_what_a_module_keeps_as_now_is_an_hour_old() -> None:
    assert time.time() - COLLECTED_S >= 3600
    assert time.time_ns() - COLLECTED_NS >= 3600 * 10**9


def test_a_clock_that_was_imported_is_true_once_tests_run() -> None:
    before, before_ns = time.time(), time.time_ns()
    assert before <= imported() <= Kept().clock() <= time.time()
    assert before_ns <= imported_ns() <= time.time_ns()
