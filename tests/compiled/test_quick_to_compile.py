"""What takes numba seconds to compile, and is written as a loop in no time, stands in no kernel."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECLARES = {"kernel", "inlined", "inlined_reordered"}


def copied_slices(source: str) -> list[str]:
    """Return assignments of one array to a slice of another, in kernels and what they call: numba compiles the text
    of the error that two shapes raise, with all that builds a string. A constant has no shape.
    """
    return [ast.unparse(found) for function in _compiled(ast.parse(source)) for found in _copied(function)]


def _compiled(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for one in ast.walk(tree):
        if isinstance(one, ast.FunctionDef):
            named = (each.func if isinstance(each, ast.Call) else each for each in one.decorator_list)
            if any(isinstance(each, ast.Name) and each.id in DECLARES for each in named):
                yield one


def _copied(function: ast.FunctionDef) -> Iterator[ast.Assign]:
    for one in ast.walk(function):
        if isinstance(one, ast.Assign) and any(_is_slice(target) for target in one.targets):
            value = one.value
            if not isinstance(value, ast.Constant) and ast.unparse(value) != "np.nan":
                yield one


def _is_slice(target: ast.expr) -> bool:
    if not isinstance(target, ast.Subscript):
        return False
    axes = target.slice.elts if isinstance(target.slice, ast.Tuple) else [target.slice]
    return any(isinstance(axis, ast.Slice) for axis in axes)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("out[1:3] = rows[2:4]", ["out[1:3] = rows[2:4]"]),
        ("out[at, :] = rows[at]", ["out[at, :] = rows[at]"]),
        ("out[:] = 0", []),
        ("out[:] = np.nan", []),
        ("out[at] = rows[at]", []),
    ],
)
def test_a_slice_that_takes_an_array_is_found(line: str, found: list[str]) -> None:
    assert copied_slices(f"@kernel(writes('f4'))\ndef f(out):\n    {line}") == found
    assert copied_slices(f"@inlined\ndef f(out):\n    {line}") == found
    assert copied_slices(f"def f(out):\n    {line}") == []


def test_no_kernel_copies_an_array_into_a_slice() -> None:
    rooms = [one.parent for one in ROOT.glob("*/__init__.py") if one.parent.name != "tests"]
    sources = [path for room in rooms for path in room.rglob("*.py")]
    found = {str(path.relative_to(ROOT)): copied_slices(path.read_text()) for path in sources}
    assert {path: lines for path, lines in found.items() if lines} == {}
    assert len(rooms) > 20
