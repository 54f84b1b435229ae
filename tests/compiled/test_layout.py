"""Where objects are not laid out as entries expect, kernels are called by numba's own means, with the same answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiled import layout

ROOT = Path(__file__).parents[2]
BY_NUMBA = """
import sys
from compiled import layout
layout.is_known = lambda: False
import numpy as np
from retrieval.key_rows import KeyRows
from compiled.kernels import _declared
rows = KeyRows()
print(rows.add(np.array([7, 9], np.uint64)).tolist(), rows.rows_of(np.array([9, 8], np.uint64)).tolist())
print("numba" in sys.modules)
by_name = {one.name: one for one in _declared}
try:
    by_name["retrieval.key_rows._rows_of"].call(1, 2, 3, 4)
except TypeError:
    print("refused")
"""


def test_this_interpreter_is_laid_out_as_expected() -> None:
    layout.is_known.cache_clear()
    assert layout.is_known()


@pytest.mark.parametrize("place", ["OBJECTS", "TYPE", "DATA", "NDIM", "DTYPE", "FLAGS"])
def test_another_layout_is_noticed(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(thing: object, offset: int, kind: Any, right: Any = layout._at) -> Any:
        return right(thing, offset + 8 if offset == getattr(layout, place) else offset, kind)

    layout.is_known.cache_clear()
    monkeypatch.setattr(layout, "_at", moved)
    assert not layout.is_known()
    layout.is_known.cache_clear()


def test_kernels_without_a_known_layout_answer_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", BY_NUMBA], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0, 1] [1, -1]\nTrue\nrefused\n"


def test_what_is_looked_at_is_what_is_read() -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    assert layout._at(array, layout.NDIM, layout.c_int32) == 2
    assert layout._at(array, layout.FLAGS, layout.c_int32) & layout.CONTIGUOUS
