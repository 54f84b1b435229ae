"""How the command line is put together: verbs call libraries, never each other, and leave the environment as it was."""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import nextclick
from contracts.errors import NextclickError
from nextclick.bench.running import running_stack
from nextclick.cli import build_app
from nextclick.stack.environment import environment_with

HOME = Path(nextclick.__file__).parent
VERBS = sorted([*(HOME / "commands").glob("*.py"), *(HOME / "bench").glob("*.py")])


def test_a_verb_is_found_wherever_it_is_declared() -> None:
    found = set(verbs(build_app()))
    assert ("nextclick.commands.up", "up") in found
    assert ("nextclick.commands.replay_play", "play") in found
    assert ("nextclick.bench.freshness", "freshness") in found
    assert len(found) > 30


@pytest.mark.parametrize("path", VERBS, ids=[f"{path.parent.name}/{path.stem}" for path in VERBS])
def test_no_command_imports_another_command(path: Path) -> None:
    assert imported(ast.parse(path.read_text())) & set(verbs(build_app())) == set()


@pytest.mark.parametrize(
    "source",
    [
        "from nextclick.commands.up import up",
        "def f():\n    from nextclick.commands.up import up as start",
        "from nextclick.commands import up as other\nother.up()",
        "import nextclick.commands.up\nnextclick.commands.up.up()",
    ],
)
def test_a_command_that_is_imported_is_found(source: str) -> None:
    assert ("nextclick.commands.up", "up") in imported(ast.parse(source))


def verbs(app: typer.Typer) -> Iterator[tuple[str, str]]:
    """Yield module and name of every command's function."""
    for command in app.registered_commands:
        function = inspect.unwrap(command.callback)  # type: ignore[arg-type]
        yield function.__module__, function.__name__
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from verbs(group.typer_instance)


def imported(tree: ast.Module) -> set[tuple[str, str]]:
    """Return what a module takes from others: (module, name), by import or as an attribute of an imported module."""
    modules: dict[str, str] = {}
    found = set[tuple[str, str]]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {(node.module, one.name) for one in node.names}
            modules |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            modules |= {one.asname or one.name: one.name for one in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            found.add((modules.get(owner, owner), node.attr))
    return found


def test_the_environment_is_as_it_was_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_ARTIFACTS", "mine")
    monkeypatch.delenv("NEXTCLICK_TEXT_MODEL", raising=False)
    before = dict(os.environ)
    values = {"NEXTCLICK_ARTIFACTS": "other", "NEXTCLICK_TEXT_MODEL": "minilm"}
    within: dict[str, str] = {}

    def fails() -> None:
        with environment_with(values):
            within.update(os.environ)
            raise RuntimeError("it stops")

    with pytest.raises(RuntimeError, match="it stops"):
        fails()
    assert within == {**before, **values}
    assert dict(os.environ) == before


def test_a_stack_that_is_measured_leaves_no_variable_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NEXTCLICK_TREND__HALF_LIFE", raising=False)
    environment = {"NEXTCLICK_TREND__HALF_LIFE": "PT5S"}
    with pytest.raises(NextclickError, match="expected a trained session model"), running_stack(tmp_path, environment):
        pass
    assert "NEXTCLICK_TREND__HALF_LIFE" not in os.environ
