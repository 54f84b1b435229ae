"""The first start of the demo compiles every kernel of the stack in one process, which ends with the demo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from compiled.cache import VARIABLE, cache_folder
from nextclick.stack.kernels_ahead import KERNELS_OF, kernels_ahead

ROOT = Path(__file__).parents[2]
DECLARED = """
import sys
from importlib import import_module
import compiled.kernels
for name in sys.argv[1:]:
    import_module(name)
print(*sorted(one.name for one in compiled.kernels._declared))
"""
SERVING = ("gateway.__main__", "flows.items", "flows.profiles", "flows.sessions", "retrieval.builder")
TRENDS = ("flows.trend_sink", "flows.trend_source", "flows.trend_steps")
"""What the trends flow imports: importing the flow itself compiles."""


def declared(*modules: str) -> set[str]:
    command = [sys.executable, "-c", DECLARED, *modules]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


def running() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "nextclick.stack.kernels_ahead" in one.cmdline()]


def test_every_kernel_of_the_gateway_and_the_flows_is_compiled_ahead() -> None:
    ahead = declared(*KERNELS_OF)
    assert len(ahead) > 60
    assert declared(*SERVING, *TRENDS) <= ahead


def test_it_compiles_beside_the_block_and_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    with kernels_ahead():
        (process,) = running()
        assert process.is_running()
    assert not process.is_running()


def test_nothing_is_started_where_kernels_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    folder = cache_folder()
    assert folder is not None
    (folder / "one.o").touch()
    with kernels_ahead():
        assert running() == []


def test_nothing_is_started_where_none_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "cache"))
    with kernels_ahead():
        assert running() == []
