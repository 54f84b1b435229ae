"""Kernels: loops over arrays, declared with the types that they take, compiled once, and never while serving.

    @kernel(reads("f4", 2), reads("i4"), writes("f4"))
    def row_sums(rows, chosen, out):
        for i in range(chosen.shape[0]):
            out[i] = rows[chosen[i]].sum()

Why numba: its kernels are Python source, and a user's machine needs no compiler. A kernel takes C-contiguous arrays and
numbers, releases the GIL, allocates little, and calls only `inlined` functions of its own file or of this room: numba
does not notice that another file changed.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
from numba import types

from compiled.cache import cache_folder, locked, show_progress

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger(__name__)

_ALONE: Final = 8
"""So few kernels are compiled without help: a helper takes two seconds to start."""
_FOLDER: Final = cache_folder()
if _FOLDER is not None:
    numba.config.CACHE_DIR = str(_FOLDER)


@dataclass(frozen=True, slots=True)
class _Declared:
    name: str
    dispatcher: Any
    signature: tuple[Any, ...]


_declared: list[_Declared] = []
_lock = threading.Lock()


def reads(dtype: str | np.dtype[Any], ndim: int = 1) -> Any:
    """Return the type of a C-contiguous array that a kernel only reads; a memory map and a read-only array are fine."""
    return types.Array(numba.from_dtype(np.dtype(dtype)), ndim, "C", readonly=True)


def writes(dtype: str | np.dtype[Any], ndim: int = 1) -> Any:
    """Return the type of a C-contiguous array that a kernel writes."""
    return types.Array(numba.from_dtype(np.dtype(dtype)), ndim, "C")


def kernel(*signature: Any, any_order: bool = False) -> Callable[[F], F]:
    """Declare a kernel with the types of its arguments: `reads`, `writes`, or a number's ("i8", "f4", "b1").

    `any_order` lets sums be made in any order, several at a time: inner products need it to be fast. Before `prepare` a
    kernel is compiled at its first call. After it a call with other types raises TypeError.
    """
    wanted = tuple(numba.from_dtype(np.dtype(one)) if isinstance(one, str) else one for one in signature)

    def declare(function: F) -> F:
        dispatcher = numba.njit(
            cache=_FOLDER is not None,
            nogil=True,
            error_model="numpy",
            fastmath={"reassoc", "contract"} if any_order else False,
        )(function)
        _declared.append(_Declared(f"{function.__module__}.{function.__qualname__}", dispatcher, wanted))
        return cast(F, dispatcher)

    return declare


def inlined(function: F) -> F:
    """Declare a function that kernels of the same file call; compiled with each of them."""
    return cast(F, numba.njit(nogil=True, error_model="numpy", inline="never")(function))


def inlined_reordered(function: F) -> F:
    """As `inlined`, for sums of floats that may be added up in any order, and so in wide registers."""
    jit = numba.njit(nogil=True, error_model="numpy", inline="never", fastmath={"reassoc", "nsz", "contract"})
    return cast(F, jit(function))


def prepare() -> int:
    """Have every kernel declared so far ready: compiled, or loaded from the cache. Returns how many were compiled.

    Import what serves before. One process compiles at a time, with a helper on another core; whoever comes after loads
    what they left.
    """
    with _lock, locked(_FOLDER), ExitStack() as helping:
        compiled, total = 0, len(_declared)
        for at, one in enumerate(_declared):
            if compiled:
                show_progress(_FOLDER, f"compiling for this machine, once: {at} of {total} kernels")
            was_compiled = _ready(one)
            if was_compiled and not compiled and total - at > _ALONE:
                helping.enter_context(_helper())
            compiled += was_compiled
        show_progress(_FOLDER, "")
        return compiled


def compile_from_the_end() -> None:
    """Compile every kernel declared so far into the cache, the last one first: what a helper of `prepare` does."""
    for one in reversed(_declared):
        one.dispatcher.compile(one.signature)


@contextmanager
def _helper() -> Iterator[None]:
    """Run a process that compiles the same kernels from the end, on another core: where the two meet, all are there."""
    if _FOLDER is None or len(os.sched_getaffinity(0)) < 2:
        yield
        return
    rooms = sorted({one.dispatcher.py_func.__module__ for one in _declared})
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", "compiled.helper", *rooms], **quiet)  # type: ignore[call-overload]
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _ready(one: _Declared) -> bool:
    """Compile one kernel, or load it; says whether it was compiled."""
    dispatcher = one.dispatcher
    if not dispatcher._can_compile:
        return False
    before = _misses(dispatcher)
    try:
        dispatcher.compile(one.signature)
    except Exception as error:  # the cache's disk is full, or what it holds is damaged: keep this one in memory
        log.warning("%s is compiled without the cache %s: %r", one.name, _FOLDER, error)
        dispatcher._cache.disable()
        dispatcher.compile(one.signature)
    dispatcher.disable_compile()
    return _FOLDER is None or _misses(dispatcher) > before


def _misses(dispatcher: Any) -> int:
    return sum(dispatcher.stats.cache_misses.values())
