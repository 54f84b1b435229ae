"""Kernels are compiled once, kept privately, loaded afterwards, and never compiled while serving."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = """
from compiled.kernels import inlined, kernel, reads, writes

@inlined
def twice(x):
    return 2 * x

@kernel(reads("f4", 2), reads("i4"), "f4", writes("f4"))
def row_sums(rows, chosen, scale, out):
    for i in range(chosen.shape[0]):
        total = 0.0
        for k in range(rows.shape[1]):
            total += rows[chosen[i], k]
        out[i] = twice(total) * scale
"""
RUN = """
import sys
import numpy as np
sys.path.insert(0, {folder!r})
import sums
from compiled.kernels import prepare
compiled = prepare()
rows = np.arange(6, dtype=np.float32).reshape(3, 2)
rows.flags.writeable = False
out = np.zeros(2, np.float32)
sums.row_sums(rows, np.array([2, 0], np.int32), 0.5, out)
try:
    sums.row_sums(rows.astype(np.float64), np.array([2, 0], np.int32), 0.5, out)
    refused = False
except TypeError:
    refused = True
print(compiled, out.tolist(), refused)
"""


def run(folder: Path, cache: Path, more: str = "", **variables: str) -> str:
    (folder / "sums.py").write_text(MODULE + more)
    environment = {**os.environ, "NEXTCLICK_KERNEL_CACHE": str(cache), **variables}
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(folder=str(folder))],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() + ("\n" + done.stderr.strip() if done.stderr.strip() else "")


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the first process has filled. Tests change copies: a process that compiles takes two seconds."""
    folder = tmp_path_factory.mktemp("compiled")
    assert run(folder, folder / "cache") == "1 [9.0, 1.0] True"
    return folder / "cache"


@pytest.fixture
def cache(compiled_once: Path, tmp_path: Path) -> Path:
    """A filled cache of the test's own."""
    shutil.copytree(compiled_once, tmp_path / "cache")
    return tmp_path / "cache"


def test_a_kernel_is_compiled_by_the_first_process_and_loaded_by_the_next(tmp_path: Path) -> None:
    assert run(tmp_path, tmp_path / "cache") == "1 [9.0, 1.0] True"
    assert run(tmp_path, tmp_path / "cache") == "0 [9.0, 1.0] True"
    assert oct((tmp_path / "cache").stat().st_mode & 0o777) == "0o700"


def test_processes_that_start_together_compile_once(tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text(MODULE)
    environment = {**os.environ, "NEXTCLICK_KERNEL_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", RUN.format(folder=str(tmp_path))]
    together = [subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in "ab"]
    said = sorted(one.communicate()[0].strip() for one in together)
    assert said == ["0 [9.0, 1.0] True", "1 [9.0, 1.0] True"]


def test_a_kernel_whose_file_changed_is_compiled_again(tmp_path: Path, cache: Path) -> None:
    assert run(tmp_path, cache, more="# a line more") == "1 [9.0, 1.0] True"


def test_the_same_file_elsewhere_is_loaded(tmp_path: Path, cache: Path) -> None:
    assert run(tmp_path, cache) == "0 [9.0, 1.0] True"


def test_a_cache_that_cannot_be_written_leaves_each_process_its_own_kernels(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    said = run(tmp_path, tmp_path / "file" / "cache")
    assert said.splitlines()[0] == "1 [9.0, 1.0] True"
    assert "name a folder by NEXTCLICK_KERNEL_CACHE" in said


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_cache_that_others_may_write_is_not_used(tmp_path: Path, mode: int) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)
    said = run(tmp_path, cache)
    assert said.splitlines()[0] == "1 [9.0, 1.0] True"
    assert "name a folder by NEXTCLICK_KERNEL_CACHE" in said
    assert not list(cache.rglob("*.o"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "damaged",
    [lambda code: code[:-20] + b"x" * 7, lambda code: code[:10], lambda code: b"", lambda code: b"x" + code[1:]],
    ids=["its end", "cut short", "empty", "its checksum"],
)
def test_a_damaged_cache_keeps_no_process_from_starting(
    tmp_path: Path, cache: Path, damaged: Callable[[bytes], bytes]
) -> None:
    (path,) = cache.rglob("*.o")
    path.write_bytes(damaged(path.read_bytes()))
    assert run(tmp_path, cache) == "1 [9.0, 1.0] True"
    assert run(tmp_path, cache) == "0 [9.0, 1.0] True"


@pytest.mark.slow
def test_many_kernels_are_compiled_by_two_processes_and_loaded_by_the_next(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        pytest.skip("one core: nobody helps")
    imports = "import rerank.features.inputs\nfrom compiled.kernels import _declared, prepare\n"
    loads = f"{imports}print(prepare(), len(_declared))"
    environment = {**os.environ, "NEXTCLICK_KERNEL_CACHE": str(tmp_path / "cache")}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", loads], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    )
    compiled, declared = map(int, first.stdout.split())
    assert compiled < declared - 5  # the helper's were loaded
    assert second.stdout.split()[0] == "0"
    assert list((tmp_path / "cache").glob("*/.progress")) == []
