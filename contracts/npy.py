"""Arrays from `.npy` files that may be damaged: numpy's own reader raises errors of many families for those, and makes
room for whatever the header says before it looks whether it is there.
"""

from __future__ import annotations

import ast
import math
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_MAGIC: Final = b"\x93NUMPY\x01\x00"
_FIELDS: Final = {"descr", "fortran_order", "shape"}


def array_in(content: bytes) -> NDArray[Any]:
    """Return the array in the bytes of a file. Raises ValueError for what is none, or not all of it."""
    dtype, shape, begin = _header(content, len(content))
    return np.frombuffer(content, dtype, math.prod(shape), begin).reshape(shape).copy()


def mapped_array(path: Path) -> NDArray[Any]:
    """Return the array in a file as a copy-on-write map. Raises ValueError for what is none, OSError."""
    with path.open("rb") as file:
        head = file.read(len(_MAGIC) + 2 + 65_536)
        dtype, shape, begin = _header(head, os.fstat(file.fileno()).st_size)
    mapped = np.memmap(path, dtype, "c", begin, shape) if math.prod(shape) else np.zeros(shape, dtype)
    return np.asarray(mapped)  # a plain view: memmap's own indexing is slow


def _header(head: bytes, size: int) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return type and shape of a file's array, and where its numbers begin. Looks whether the file has all of them."""
    if head[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"expected a .npy file of version 1, got {head[:8]!r}")
    begin = len(_MAGIC) + 2 + int.from_bytes(head[len(_MAGIC) : len(_MAGIC) + 2], "little")
    try:
        told = ast.literal_eval(head[len(_MAGIC) + 2 : begin].decode("latin-1").strip())
        dtype = np.dtype(told["descr"]) if isinstance(told["descr"], str) else None
        is_ours = set(told) == _FIELDS and told["fortran_order"] is False and isinstance(told["shape"], tuple)
    except (ValueError, TypeError, KeyError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"expected the header of a .npy file, got one that cannot be read ({error!r:.100})") from error
    if dtype is None or dtype.kind not in "biufc" or not is_ours or not _is_shape(told["shape"]):
        raise ValueError(f"expected plain numbers row by row, got {told!r:.200}")
    expected = begin + math.prod(told["shape"]) * dtype.itemsize
    if expected != size:
        raise ValueError(f"expected {expected:,} bytes for {told['shape']!r:.100} of {dtype}, got {size:,}")
    return dtype, told["shape"], begin


def _is_shape(shape: tuple[Any, ...]) -> bool:
    return len(shape) <= 32 and all(type(length) is int and length >= 0 for length in shape)
