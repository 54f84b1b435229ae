"""Where CPython's tuple and numpy's array keep what a kernel's entry reads of them, and whether they do here.

These places are part of the stable ABI of either. Where they do not hold all the same (another interpreter, a build
without the GIL, a release to come), kernels are called by numba's own means: see `compiled.kernels`.
"""

from __future__ import annotations

import sys
import sysconfig
from ctypes import c_int32, c_int64, c_void_p
from functools import cache
from typing import Any, Final

import numpy as np

OBJECTS: Final = 24
"""Of a tuple: its objects."""
TYPE: Final = 8
"""Of any object: its type."""
DATA, NDIM, SHAPE, DTYPE, FLAGS = 16, 24, 32, 56, 64
"""Of an array."""
CONTIGUOUS, ALIGNED, WRITABLE = 0x1, 0x100, 0x400
"""Bits of an array's flags."""


@cache
def is_known() -> bool:
    """Look at a tuple and at arrays whose contents are known."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    held = (np.zeros((3, 5), np.float32), np.dtype("i8"))
    if [_at(held, OBJECTS + 8 * at, c_void_p) for at in (0, 1)] != [id(one) for one in held]:
        return False
    frozen = np.zeros(7, np.int64)[::2]
    frozen.flags.writeable = False
    return _is_laid_out(held[0], CONTIGUOUS | ALIGNED | WRITABLE) and _is_laid_out(frozen, ALIGNED)


def _is_laid_out(array: Any, flags: int) -> bool:
    found = (
        _at(array, TYPE, c_void_p) == id(np.ndarray)
        and _at(array, DATA, c_void_p) == array.ctypes.data
        and _at(array, NDIM, c_int32) == array.ndim
        and _at(array, DTYPE, c_void_p) == id(array.dtype)
        and _at(array, FLAGS, c_int32) & (CONTIGUOUS | ALIGNED | WRITABLE) == flags
    )
    if not found:
        return False
    shape = _at(array, SHAPE, c_void_p)
    return [c_int64.from_address(shape + 8 * axis).value for axis in range(array.ndim)] == list(array.shape)


def _at(thing: object, offset: int, kind: Any) -> Any:
    return kind.from_address(id(thing) + offset).value
