"""Machine code of kernels in this process: object files, linked by LLVM and called by Python. Nothing of numba."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any, Final, TypeVar

import numpy as np
from llvmlite import binding

from compiled.declared import Source

TYPE_ERROR, FAILURE, NONE, NDARRAY, DTYPES = range(5)
"""Places in the tuple that an entry is called with: two exceptions, None, numpy's array type, a dtype an argument."""
ALLOCATOR: Final = ("NRT_",)
"""How functions begin that numba's small library for allocation has."""
_METH_FASTCALL: Final = 0x80
T = TypeVar("T")


def _kept(thing: T) -> T:
    """Return a thing that lives as long as the process, with what functions point to. Lists of a module do not: at exit
    they are emptied first, and the collector then looks through functions at memory that is no longer theirs.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    return thing


class _Method(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def entry_of(source: Source) -> str:
    """Return the name of the C function that Python calls."""
    return f"nextclick_{source.name}"


def functions_of(codes: Sequence[tuple[Source, bytes]]) -> list[Callable[..., Any]]:
    """Link object files, and return what calls each one's entry."""
    engine = _engine()
    for _, code in codes:
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return [_function(source, engine.get_function_address(entry_of(source))) for source, _ in codes]


def processor() -> str:
    """Return what code is made for: the processor's kind, and what it can do."""
    return f"{binding.get_process_triple()} {binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"


def _function(source: Source, address: int) -> Callable[..., Any]:
    dtypes = (np.dtype(one.dtype) if one.is_array else None for one in source.arguments)
    held = (TypeError, MemoryError, None, np.ndarray, *dtypes)
    method = _Method(source.name.rpartition(".")[2].encode(), address, _METH_FASTCALL, None)
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    made: Callable[..., Any] = new(ctypes.addressof(_kept(method)), held, None)
    return made


@cache
def _engine() -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    _add_allocator()
    target = binding.Target.from_triple(binding.get_process_triple())
    machine = target.create_target_machine(reloc="static", codemodel="jitdefault", jit=True)
    return _kept(binding.create_mcjit_compiler(binding.parse_assembly(""), machine))


def _add_allocator() -> None:
    """Let kernels allocate: what numba has for that is a small library, which stands by itself."""
    runtime = sys.modules.get("numba.core.runtime._nrt_python") or _numba_runtime()
    for name, address in runtime.c_helpers.items():
        binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
    _kept(runtime)


def _numba_runtime() -> Any:
    found = PathFinder.find_spec("numba")
    folders = found.submodule_search_locations if found is not None else None
    spec = PathFinder.find_spec("_nrt_python", [f"{folder}/core/runtime" for folder in folders or ()])
    if spec is None or spec.loader is None:
        raise ImportError("expected numba beside llvmlite, found none: install what requirements/serving.txt names")
    runtime = module_from_spec(spec)
    spec.loader.exec_module(runtime)
    return runtime
