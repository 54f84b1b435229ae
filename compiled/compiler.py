"""Compiles a kernel to machine code that runs without numba: the only importer of numba, in processes that compile.

What comes out is one object file a kernel. Its entry is a C function that Python calls (METH_FASTCALL): it takes the
arrays and numbers out of their Python objects, refuses what is not of the declared types, and runs the kernel with the
interpreter let go. numba's own loader would do; but it costs 1.8 s and 60 MB in every process that only loads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler import Flags, compile_extra
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import register_jitable
from numba.np.arrayobj import populate_array

from compiled.declared import Argument, Inlined, Source
from compiled.layout import ALIGNED, CONTIGUOUS, DATA, DTYPE, FLAGS, NDIM, OBJECTS, SHAPE, TYPE, WRITABLE
from compiled.machine import ALLOCATOR, DTYPES, FAILURE, NDARRAY, NONE, TYPE_ERROR, entry_of

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_POINTER = _I8.as_pointer()
_NO_ENTRIES: Final = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""What nobody calls from Python or C needs no entry: a third of what it costs to compile."""
_known: set[int] = set()


@global_compiler_lock  # type: ignore[untyped-decorator]
def object_code(source: Source, inlined: Sequence[Inlined]) -> bytes:
    """Return the object file of a kernel. `inlined` are the functions that it may call.

    The kernel and its entry are one module, which LLVM optimises once; numba's own two entries are left out.
    """
    _register(inlined)
    context, entry = cpu_target.target_context, entry_of(source)
    library = context.codegen().create_library(entry)
    library.enable_object_caching()
    arguments = tuple(numba_type(one) for one in source.arguments)
    made = compile_extra(
        cpu_target.typing_context, context, source.function, arguments, None, _flags(source), {}, library=library
    )
    module = context.create_module(entry)
    callee = context.declare_function(module, made.fndesc)
    _Entry(context, module, callee, made.fndesc, source).build(entry)
    library.add_ir_module(module)
    library.finalize()
    _expect_known(source.name, library)
    code: bytes = library._get_compiled_object()
    return code


def compiled(source: Source, inlined: Sequence[Inlined]) -> Any:
    """Return a kernel as numba calls it, compiled for its declared types. Others raise TypeError."""
    _register(inlined)
    made = numba.njit(nogil=True, **_options(source.fastmath))(source.function)
    made.compile(tuple(numba_type(one) for one in source.arguments))
    made.disable_compile()
    return made


def _register(inlined: Sequence[Inlined]) -> None:
    for one in inlined:
        if id(one.function) not in _known:
            _known.add(id(one.function))
            register_jitable(**_options(one.fastmath), **_NO_ENTRIES)(one.function)


def _options(fastmath: frozenset[str]) -> dict[str, Any]:
    return {"error_model": "numpy", "fastmath": set(fastmath) or False}


def _flags(source: Source) -> Any:
    """Return how a kernel is lowered: into its library, which is not yet made to run."""
    flags = Flags()
    cpu_target.options.parse_as_flags(flags, {"nopython": True, **_options(source.fastmath), **_NO_ENTRIES})
    flags.no_compile = True
    return flags


def _expect_known(name: str, library: Any) -> None:
    """Raise TypeError where code calls what only numba has: without numba, linking it would end the process."""
    process = ctypes.CDLL(None)
    called = [one.name for one in library._final_module.functions if one.is_declaration]
    ours = ("llvm.", *ALLOCATOR)
    missing = [one for one in called if not one.startswith(ours) and not hasattr(process, one)]
    if missing:
        raise TypeError(
            f"{name}: expected a kernel that needs nothing of numba, got one that calls {', '.join(missing)}"
        )


def numba_type(argument: Argument) -> Any:
    """Return numba's type of an argument."""
    found = numba.from_dtype(np.dtype(argument.dtype))
    return types.Array(found, argument.ndim, "C", readonly=not argument.writes) if argument.is_array else found


class _Entry:
    """Builds the C function by which Python calls a kernel."""

    def __init__(self, context: Any, module: Any, callee: Any, described: Any, source: Source) -> None:
        self._context, self._module, self._callee, self._described = context, module, callee, described
        self._source = source

    def build(self, name: str) -> None:
        """`PyObject *entry(PyObject *self, PyObject *const *args, Py_ssize_t nargs)`."""
        function = ir.Function(
            self._module, ir.FunctionType(_POINTER, [_POINTER, _POINTER.as_pointer(), _I64]), name=name
        )
        self._self, self._given, count = function.args
        self._b = builder = ir.IRBuilder(function.append_basic_block("entry"))
        arguments = self._source.arguments
        self._refuse(
            builder.icmp_signed("!=", count, _I64(len(arguments))), f"expected {len(arguments)} arguments, got others"
        )
        values = [self._array(at, one) if one.is_array else self._number(at, one) for at, one in enumerate(arguments)]
        state = self._call("PyEval_SaveThread", _POINTER)
        status, returned = self._context.call_conv.call_function(
            builder, self._callee, self._described.restype, self._described.argtypes, values
        )
        self._call("PyEval_RestoreThread", ir.VoidType(), state)
        self._refuse(status.is_error, "failed: no memory, or an error in the kernel", FAILURE)
        builder.ret(self._result(returned))

    def _array(self, at: int, argument: Argument) -> Any:
        builder, given = self._b, self._argument(at)
        said = f"argument {at + 1}: expected {argument}, got another"
        wanted = self._held(NDARRAY)
        kind = self._field(given, TYPE, _POINTER)
        with builder.if_then(builder.icmp_unsigned("!=", kind, wanted), likely=False):
            derived = self._call("PyType_IsSubtype", _I32, kind, wanted)
            self._refuse(builder.icmp_signed("==", derived, _I32(0)), said)
        flags = CONTIGUOUS | ALIGNED | (WRITABLE if argument.writes else 0)
        found = builder.and_(self._field(given, FLAGS, _I32), _I32(flags))
        self._refuse(builder.icmp_signed("!=", found, _I32(flags)), said)
        ndim = self._field(given, NDIM, _I32)
        self._refuse(builder.icmp_signed("!=", ndim, _I32(argument.ndim)), said)
        dtype, declared = self._field(given, DTYPE, _POINTER), self._held(DTYPES + at)
        with builder.if_then(builder.icmp_unsigned("!=", dtype, declared), likely=False):
            equal = self._call("PyObject_RichCompareBool", _I32, dtype, declared, _I32(2))
            with builder.if_then(builder.icmp_signed("<", equal, _I32(0)), likely=False):
                builder.ret(_POINTER(None))
            self._refuse(builder.icmp_signed("==", equal, _I32(0)), said)
        return self._filled(numba_type(argument), given)

    def _filled(self, kind: Any, given: Any) -> Any:
        """Return numba's struct of an array; nobody owns its memory, as the caller holds the array."""
        builder, context = self._b, self._context
        array = context.make_array(kind)(context, builder)
        itemsize = _I64(np.dtype(numba.np.numpy_support.as_dtype(kind.dtype)).itemsize)
        lengths = self._field(given, SHAPE, _I64.as_pointer())
        shape = [builder.load(builder.gep(lengths, [_I64(axis)])) for axis in range(kind.ndim)]
        strides = [itemsize]
        for length in reversed(shape[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        data = builder.bitcast(self._field(given, DATA, _POINTER), array.data.type)
        populate_array(array, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
        return array._getvalue()

    def _number(self, at: int, argument: Argument) -> Any:
        builder, given, dtype = self._b, self._argument(at), np.dtype(argument.dtype)
        wanted = self._context.get_value_type(numba_type(argument))
        if dtype.kind == "b":
            found = self._call("PyObject_IsTrue", _I32, given)
            self._raise_if(builder.icmp_signed("<", found, _I32(0)))
            return builder.icmp_signed("!=", found, _I32(0))
        if dtype.kind == "f":
            real = self._call("PyFloat_AsDouble", ir.DoubleType(), given)
            self._raise_if(builder.fcmp_ordered("==", real, ir.DoubleType()(-1.0)), ask=True)
            return real if dtype.itemsize == 8 else builder.fptrunc(real, wanted)
        name = "PyLong_AsLongLong" if dtype.kind == "i" else "PyLong_AsUnsignedLongLongMask"
        number = self._call(name, _I64, given)
        self._raise_if(builder.icmp_signed("==", number, _I64(-1)), ask=True)
        return number if dtype.itemsize == 8 else builder.trunc(number, wanted)

    def _result(self, returned: Any) -> Any:
        kind, builder = self._described.restype, self._b
        if kind == types.none:
            none = self._held(NONE)
            self._call("Py_IncRef", ir.VoidType(), none)
            return none
        if isinstance(kind, types.Boolean):
            return self._call("PyBool_FromLong", _POINTER, builder.zext(returned, _I64))
        if isinstance(kind, types.Integer):
            wide = returned
            if kind.bitwidth < 64:
                wide = builder.sext(returned, _I64) if kind.signed else builder.zext(returned, _I64)
            name = "PyLong_FromLongLong" if kind.signed else "PyLong_FromUnsignedLongLong"
            return self._call(name, _POINTER, wide)
        if isinstance(kind, types.Float):
            wide = builder.fpext(returned, ir.DoubleType()) if kind.bitwidth < 64 else returned
            return self._call("PyFloat_FromDouble", _POINTER, wide)
        raise TypeError(f"{self._source.name}: expected a kernel that returns nothing or a number, got {kind}")

    def _argument(self, at: int) -> Any:
        return self._b.load(self._b.gep(self._given, [_I64(at)]))

    def _held(self, place: int) -> Any:
        return self._field(self._self, OBJECTS + 8 * place, _POINTER)

    def _field(self, thing: Any, offset: int, kind: Any) -> Any:
        builder = self._b
        return builder.load(builder.bitcast(builder.gep(thing, [_I64(offset)]), kind.as_pointer()))

    def _call(self, name: str, returns: Any, *arguments: Any) -> Any:
        wanted = ir.FunctionType(returns, [one.type for one in arguments])
        return self._b.call(cgutils.get_or_insert_function(self._module, wanted, name), arguments)

    def _refuse(self, when: Any, why: str, error: int = TYPE_ERROR) -> None:
        with self._b.if_then(when, likely=False):
            text = self._context.insert_const_string(self._module, f"{self._source.name}: {why}")
            self._call("PyErr_SetString", ir.VoidType(), self._held(error), text)
            self._b.ret(_POINTER(None))

    def _raise_if(self, when: Any, *, ask: bool = False) -> None:
        """Return what Python's own function has raised; `ask` where it returns a number that it may mean as well."""
        with self._b.if_then(when, likely=False):
            if not ask:
                self._b.ret(_POINTER(None))
                return
            raised = self._call("PyErr_Occurred", _POINTER)
            with self._b.if_then(self._b.icmp_unsigned("!=", raised, _POINTER(None)), likely=False):
                self._b.ret(_POINTER(None))
