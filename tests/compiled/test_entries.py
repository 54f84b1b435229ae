"""What a kernel's entry takes from Python, and what it refuses: nothing but the declared types reaches machine code."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiled.kernels import inlined, kernel, reads, writes
from contracts.sessions import CLICK

ROOT = Path(__file__).parents[2]


@kernel(reads("f4", 2), "i8", writes("f8"))
def column(rows: Any, number: int, out: Any) -> None:
    for at in range(rows.shape[0]):
        out[at] = rows[at, number]


@kernel("i8", "u8", "f8", "f4", "b1", writes("f8"))
def numbers(signed: int, unsigned: int, double: float, single: float, flag: bool, out: Any) -> None:
    out[0], out[1], out[2], out[3], out[4] = signed, unsigned, double, single, flag


@kernel("i8")
def doubled(number: int) -> int:
    return 2 * number


@kernel("f8")
def halved(number: float) -> float:
    return number / 2


@kernel("i8")
def is_odd(number: int) -> bool:
    return number % 2 == 1


@kernel(reads("i8"))
def sum_of_copies(values: Any) -> int:
    copies = np.empty(1_000_000, np.int64)
    copies[:] = 0
    for at in range(values.shape[0]):
        copies[at] = values[at]
    return copies.sum()


@kernel(reads(CLICK), writes("i8"))
def times(clicks: Any, out: Any) -> None:
    for at in range(clicks.shape[0]):
        out[at] = clicks[at]["ts_ms"]


@inlined
def at_least(value: Any, least: Any) -> Any:
    return max(value, least)


ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


def test_arrays_and_numbers_arrive() -> None:
    out = np.zeros(3)
    column(ROWS, 1, out)
    assert out.tolist() == [1.0, 3.0, 5.0]


def test_memory_maps_and_read_only_arrays_are_read(tmp_path: Path) -> None:
    ROWS.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=(3, 2))
    out = np.zeros(3)
    column(mapped, 0, out)
    assert out.tolist() == [0.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((ROWS, 1), "expected 3 arguments"),
        ((ROWS, 1, np.zeros(3), 4), "expected 3 arguments"),
        (
            (ROWS.astype(np.float64), 1, np.zeros(3)),
            "argument 1: expected a C-contiguous float32 array of 2 dimensions",
        ),
        ((ROWS[0], 1, np.zeros(3)), "argument 1"),
        ((np.asfortranarray(ROWS), 1, np.zeros(3)), "argument 1"),
        ((ROWS[:, :1], 0, np.zeros(3)), "argument 1"),
        ((ROWS.astype(">f4"), 1, np.zeros(3)), "argument 1"),
        ((ROWS.tolist(), 1, np.zeros(3)), "argument 1"),
        ((None, 1, np.zeros(3)), "argument 1"),
        ((ROWS, 1, np.zeros(3, np.float32)), "argument 3: expected a writable C-contiguous float64 array"),
        ((ROWS, 1, np.broadcast_to(np.zeros(1), 3)), "argument 3"),
        ((ROWS, 1.5, np.zeros(3)), "float"),
        ((ROWS, "1", np.zeros(3)), "str"),
    ],
)
def test_what_is_not_declared_is_refused(given: tuple[Any, ...], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        column(*given)


def test_numbers_too_large_are_refused() -> None:
    with pytest.raises(OverflowError):
        doubled(1 << 63)


@given(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(0, (1 << 64) - 1),
    st.floats(),
    st.floats(width=32),
    st.booleans(),
)
def test_numbers_arrive_as_they_are(signed: int, unsigned: int, double: float, single: float, flag: bool) -> None:
    expected = np.array([signed, unsigned, double, single, flag], np.float64)
    for one in (int, np.int64):
        out = np.zeros(5)
        numbers(one(signed), np.uint64(unsigned), np.float64(double), np.float32(single), np.bool_(flag), out)
        np.testing.assert_array_equal(out, expected)


def test_numbers_are_given_back() -> None:
    assert doubled(-21) == -42
    assert halved(-1) == -0.5
    assert [is_odd(3), is_odd(4)] == [True, False]


def test_records_arrive() -> None:
    clicks = np.zeros(2, CLICK)
    clicks["ts_ms"] = [5, 7]
    out = np.zeros(2, np.int64)
    times(np.frombuffer(clicks.tobytes(), CLICK), out)
    assert out.tolist() == [5, 7]
    with pytest.raises(TypeError, match="argument 1"):
        times(np.zeros(2, [("ts_ms", "<i8")]), out)


def test_what_a_kernel_allocates_is_given_back() -> None:
    values = np.arange(5)
    assert sum_of_copies(values) == 10
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(200):
        assert sum_of_copies(values) == 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # of 1.6 GB


def test_calls_hold_no_reference_to_their_arguments() -> None:
    rows, out, dtype = ROWS.copy(), np.zeros(3), np.dtype("f4")
    column(rows, 1, out)
    counts = [sys.getrefcount(one) for one in (rows, out, dtype, None, np.ndarray)]
    for _ in range(1000):
        column(rows, 1, out)
        with pytest.raises(TypeError):
            column(out, 1, out)
    now = [sys.getrefcount(one) for one in (rows, out, dtype, None, np.ndarray)]
    assert max(abs(a - b) for a, b in zip(counts, now, strict=True)) < 500


def test_threads_run_kernels_side_by_side() -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.extend(sum_of_copies(np.arange(5)) for _ in range(20))) for _ in range(4)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [10] * 80


def test_python_calls_inlined_functions_too() -> None:
    assert at_least(1, 2) == 2


@pytest.mark.slow
def test_processes_that_load_kernels_do_without_numba() -> None:
    code = (
        "import sys, gateway.app, flows.sessions, flows.items, flows.trends, retrieval.builder\n"
        "from compiled.kernels import prepare\n"
        "prepare()\n"
        "before = 'numba' in sys.modules\n"
        "print(prepare(), before)\n"
    )
    for _ in range(2):  # the first one may have to compile
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=os.environ, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == "0 False\n"


AT_EXIT = """
import ctypes, gc
from compiled import machine
from retrieval.sources.source import _lay_out
import numpy as np
_lay_out(np.zeros(1, np.int64), np.zeros(1, np.float32), np.zeros(1, np.float32))
Method = machine._Method
machine.__dict__.clear()  # as the interpreter does when it ends, before it collects
taken = [(ctypes.c_ubyte * ctypes.sizeof(Method))(*[255] * ctypes.sizeof(Method)) for _ in range(20_000)]
gc.collect()
print(_lay_out.func.__name__)
"""


def test_an_interpreter_that_ends_looks_at_no_memory_that_is_gone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT], cwd=ROOT, capture_output=True, text=True, env=os.environ, check=False
    )
    assert (done.returncode, done.stdout) == (0, "_lay_out\n"), done.stderr
