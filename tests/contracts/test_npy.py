"""Arrays from files that may be damaged: read whole, or refused before anything of their size is made."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from contracts.npy import array_in, mapped_array


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


NUMBERS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize("array", [NUMBERS, np.zeros((0, 4), np.int64), np.array([True, False]), np.array(3.5)])
def test_what_numpy_saved_comes_back(tmp_path: Path, array: np.ndarray) -> None:
    (tmp_path / "a.npy").write_bytes(saved(array))
    for read in (array_in(saved(array)), mapped_array(tmp_path / "a.npy")):
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        assert read.tolist() == array.tolist()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "expected a .npy file of version 1, got b''"),
        (saved(NUMBERS)[:-1], r"expected 152 bytes for \(3, 2\) of float32, got 151"),
        (saved(NUMBERS).replace(b"'descr': ", b"'descr'\x87 "), "got one that cannot be read"),
        (saved(NUMBERS).replace(b"(3, 2), }        ", b"(99999999999999,)}"), "bytes for"),
        (saved(NUMBERS).replace(b"(3, 2)", b"(3L,2)"), "got one that cannot be read"),
        (saved(NUMBERS).replace(b"(3, 2)", b"(-3,2)"), "expected plain numbers row by row"),
        (saved(NUMBERS).replace(b"'<f4'", b"'|O8'"), "expected plain numbers row by row"),
        (saved(np.asfortranarray(NUMBERS)), "expected plain numbers row by row"),
    ],
)
def test_what_is_no_such_array_is_refused_with_what_is_wrong(raw: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        array_in(raw)
