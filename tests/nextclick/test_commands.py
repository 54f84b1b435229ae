"""Commands call libraries: what typer calls is called by typer alone."""

from __future__ import annotations

import ast
from pathlib import Path

import typer

from nextclick.cli import build_app

ROOT = Path(__file__).parents[2]
MOUNTED = {"nextclick/cli.py", "nextclick/commands/replay.py", "nextclick/commands/replay_more.py"}
"""Where commands are put into the command line."""


def callbacks(app: typer.Typer) -> set[tuple[str, str]]:
    """Return (module, function) of every command."""
    found = {
        (command.callback.__module__, command.callback.__name__)
        for command in app.registered_commands
        if command.callback is not None
    }
    return found.union(*(callbacks(group.typer_instance) for group in app.registered_groups if group.typer_instance))


def test_no_command_and_no_benchmark_calls_a_command() -> None:
    commands = callbacks(build_app())
    assert ("nextclick.commands.train_models", "models") in commands
    called = []
    for path in sorted((ROOT / "nextclick").rglob("*.py")):
        if str(path.relative_to(ROOT)) in MOUNTED:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                called += [(str(path), name.name) for name in node.names if (node.module, name.name) in commands]
    assert called == []
