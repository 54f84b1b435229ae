"""The units of systemd are what systemd takes, and run commands that there are with settings that there are."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

from compiled.cache import VARIABLE as KERNEL_CACHE
from nextclick.cli import build_app
from nextclick.stack.settings import StackSettings
from tests.test_compose import setting

UNITS = sorted((Path(__file__).parents[1] / "deploy/systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
PROGRAM, PYTHON = "/opt/nextclick/bin/nextclick", "/opt/nextclick/bin/python"


def lines(unit: Path, key: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.read_text().splitlines() if line.startswith(f"{key}=")]


def test_systemd_takes_them(tmp_path: Path) -> None:
    systemd = shutil.which("systemd-analyze")
    if systemd is None:
        pytest.skip("no systemd-analyze here: Debian's package systemd has it")
    for unit in UNITS:
        (tmp_path / unit.name).write_text(re.sub(f"{PROGRAM}|{PYTHON}", "/bin/true", unit.read_text()))
    for unit in UNITS:
        command = [systemd, "verify", "--man=no", str(tmp_path / unit.name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), unit.name


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_they_run_a_command_that_there_is_as_no_root(unit: Path) -> None:
    [line] = lines(unit, "ExecStart")
    program, verb, *rest = shlex.split(line)
    assert lines(unit, "User") == ["nextclick"]
    assert lines(unit, "NoNewPrivileges") == ["yes"]
    if program == PYTHON:
        assert verb == "-m"
        assert [find_spec(module) is not None for module in rest] == [True]
        return
    assert program == PROGRAM
    app = typer.main.get_command(build_app(verb))
    assert isinstance(app, typer.core.TyperGroup)
    command = app.commands[verb]
    while isinstance(command, typer.core.TyperGroup):
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_what_they_set_is_a_setting(unit: Path) -> None:
    variables = {line.partition("=")[0] for line in lines(unit, "Environment")}
    ours = {name for name in variables if name.startswith("NEXTCLICK_")} - {KERNEL_CACHE}
    assert [name for name in ours if not setting(StackSettings, name)] == []


def test_a_shard_of_the_index_is_the_one_that_its_units_name_says() -> None:
    [unit] = [unit for unit in SERVICES if unit.stem.endswith("@")]
    assert unit.stem == "nextclick-index-shard@"
    [line] = lines(unit, "ExecStart")
    assert shlex.split(line)[1:] == ["index", "shard", "--shard", "%i"]


def test_a_relay_listens_in_a_folder_of_its_own_user_alone_that_its_unit_and_the_page_name() -> None:
    [unit] = [unit for unit in SERVICES if unit.stem == "nextclick-relay"]
    [given] = [line for line in lines(unit, "Environment") if line.startswith("NEXTCLICK_RELAY__SOCKET=")]
    assert Path(given.partition("=")[2]).parent == Path("/run") / lines(unit, "RuntimeDirectory")[0]
    assert lines(unit, "RuntimeDirectoryMode") == ["0700"]
    assert given in (UNITS[0].parents[2] / "docs/running.md").read_text()


def test_the_timer_starts_a_service_that_there_is() -> None:
    timers = {unit.stem for unit in UNITS if unit.suffix == ".timer"}
    assert timers == {"nextclick-retrain"}
    assert timers <= {unit.stem for unit in SERVICES}
