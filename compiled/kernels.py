"""Kernels: loops over arrays, declared with the types that they take, compiled once, and never while serving.

    @kernel(reads("f4", 2), reads("i4"), writes("f4"))
    def row_sums(rows, chosen, out):
        for i in range(chosen.shape[0]):
            out[i] = rows[chosen[i]].sum()

Why numba: its kernels are Python source, and a user's machine needs no compiler. A kernel takes C-contiguous arrays and
numbers, releases the GIL, allocates little, and calls only `inlined` functions of its own file or of this room: nobody
notices that another file changed. numba is imported where something has to be compiled, and nowhere else.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeVar, cast

from compiled.cache import cache_folder, locked, show_progress
from compiled.declared import Argument, DType, Inlined, Source
from compiled.layout import is_known
from compiled.store import Store

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger(__name__)

_ALONE: Final = 8
"""So few kernels are compiled without help: a helper takes two seconds to start."""
_FOLDER: Final = cache_folder()
_REORDERED: Final = frozenset({"reassoc", "contract"})


class _Declared:
    """One kernel. `call` is what its file's readers hold: first `_first`, and once it is ready the machine code."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.call = partial(self._first)

    @property
    def name(self) -> str:
        return self.source.name

    def _first(self, *arguments: Any) -> Any:
        with _lock:
            if not _load([self]):
                _compile(self)
        return self.call(*arguments)

    @property
    def is_ready(self) -> bool:
        return self.call.func != self._first

    def become(self, function: Callable[..., Any]) -> None:
        """Have every holder of `call` call this from now on, with nothing of Python's between."""
        cast(Any, self.call).__setstate__((function, (), {}, {}))


_declared: list[_Declared] = []
_inlined: list[Inlined] = []
_lock = threading.RLock()
_store: Final = Store(_FOLDER)


def reads(dtype: DType, ndim: int = 1) -> Argument:
    """Return the type of a C-contiguous array that a kernel only reads; a memory map and a read-only array are fine."""
    return Argument(dtype, ndim)


def writes(dtype: DType, ndim: int = 1) -> Argument:
    """Return the type of a C-contiguous array that a kernel writes."""
    return Argument(dtype, ndim, writes=True)


def kernel(*signature: Argument | str, any_order: bool = False) -> Callable[[F], F]:
    """Declare a kernel with the types of its arguments: `reads`, `writes`, or a number's ("i8", "f4", "b1").

    `any_order` lets sums be made in any order, several at a time: inner products need it to be fast. Before `prepare` a
    kernel is loaded or compiled at its first call. A call with other types raises TypeError.
    """
    arguments = tuple(Argument(one) if isinstance(one, str) else one for one in signature)

    def declare(function: F) -> F:
        name = f"{function.__module__}.{function.__qualname__}"
        one = _Declared(Source(name, function, arguments, _REORDERED if any_order else frozenset()))
        _declared.append(one)
        return cast(F, one.call)

    return declare


def inlined(function: F) -> F:
    """Declare a function that kernels of the same file call; compiled with each of them. Python may call it too."""
    _inlined.append(Inlined(function))
    return function


def inlined_reordered(function: F) -> F:
    """As `inlined`, for sums of floats that may be added up in any order, and so in wide registers."""
    _inlined.append(Inlined(function, frozenset({"reassoc", "nsz", "contract"})))
    return function


def prepare() -> int:
    """Have every kernel declared so far ready: compiled, or loaded from the cache. Returns how many were compiled.

    Import what serves before. One process compiles at a time, with a helper on another core; whoever comes after loads
    what they left, and processes that only load wait for nobody.
    """
    with _lock:
        if _load(_declared):
            return 0
        with locked(_FOLDER):
            return _compile_missing()


def prepare_ahead(modules: Sequence[str]) -> int:
    """Import modules and have their kernels ready, for processes yet to start: those that lack one wait until this is
    done, as the cache is held before the imports. Returns how many were compiled. No module may itself prepare.
    """
    with _lock, locked(_FOLDER), _helper(modules):
        for name in modules:
            import_module(name)
        return _compile_missing(helped=True)


def compile_from_the_end() -> None:
    """Compile every kernel declared so far into the cache, the last one first: what a helper of `prepare` does."""
    for one in reversed(_declared):
        if _store.read(one.source) is None:
            _store.write(one.source, _code(one.source))


def _compile_missing(*, helped: bool = False) -> int:
    """Compile what the cache lacks. The helper starts first: it imports numba while this process does."""
    _load(_declared)
    missing = [one for one in _declared if not one.is_ready]
    compiled, there = 0, len(_declared) - len(missing)
    with ExitStack() as helping:
        if len(missing) > _ALONE and not helped:
            helping.enter_context(_helper(sorted({one.source.function.__module__ for one in _declared})))
        for at, one in enumerate(missing):
            show_progress(_FOLDER, f"compiling for this machine, once: {there + at} of {len(_declared)} kernels")
            if not _load([one]):
                _compile(one)
                compiled += 1
        show_progress(_FOLDER, "")
    return compiled


def _load(wanted: list[_Declared]) -> bool:
    """Take from the cache what is there; tells whether all are ready."""
    missing = [one for one in wanted if not one.is_ready] if is_known() else []
    found = {one: code for one in missing if (code := _store.read(one.source)) is not None}
    _run({one: (one.source, code) for one, code in found.items()})
    return all(one.is_ready for one in wanted)


def _compile(one: _Declared) -> None:
    if not is_known():
        from compiled.compiler import compiled

        one.become(compiled(one.source, _inlined))
        return
    code = _code(one.source)
    _store.write(one.source, code)
    _run({one: (one.source, code)})


def _code(source: Source) -> bytes:
    from compiled.compiler import object_code

    code: bytes = object_code(source, _inlined)
    return code


def _run(codes: dict[_Declared, tuple[Source, bytes]]) -> None:
    if codes:
        from compiled.machine import functions_of

        for one, function in zip(codes, functions_of(list(codes.values())), strict=True):
            one.become(function)


@contextmanager
def _helper(modules: Sequence[str]) -> Iterator[None]:
    """Run a process that compiles the same kernels from the end, on another core: where the two meet, all are there."""
    if _FOLDER is None or len(os.sched_getaffinity(0)) < 2 or not is_known():
        yield
        return
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", "compiled.helper", *modules], **quiet)  # type: ignore[call-overload]
    try:
        yield
    finally:
        process.kill()
        process.wait()
