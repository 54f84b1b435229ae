"""What counts where an option and a setting mean the same: the option, the environment, the TOML file, the default."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from contracts.errors import SettingsError
from eventlog.files import write_events
from nextclick.bench.globo import half_life_of
from nextclick.cli import build_app
from nextclick.commands.index import index_settings
from nextclick.stack.settings import StackSettings, gateway_url, value_of, with_given
from nextclick.stack.stack import Stack
from replay.synthetic.shoppers import make_shop, shoppers

UP = (
    # option, what is typed; setting; in the environment, in TOML, by default
    (["--port", "9001"], "stack.port", (9001, 9002, 9003, 8080)),
    (["--folder", "given"], "stack.folder", (Path("given"), Path("env"), Path("toml"), Path(".nextclick/stack"))),
    (["--gateways", "4"], "stack.gateways", (4, 3, 2, 1)),
    (["--session-workers", "4"], "stack.session_workers", (4, 3, 2, 1)),
    (["--page"], "stack.demo_page", (True, False, True, False)),
    (["--no-page"], "stack.demo_page", (False, True, True, False)),
    (["--artifacts", "given"], "artifacts", ("given", "env", "toml", "")),
    (["--index"], "index.builder", (True, False, False, True)),
    (["--no-index"], "index.builder", (False, True, False, True)),
)


class Started(Exception):
    """A stack is about to start: it holds the settings that it would run with."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file of this folder counts, and no stack starts."""

    def start(stack: Stack, *_: object, **__: object) -> None:
        raise Started(stack.settings)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Stack, "start", start)


def said(monkeypatch: pytest.MonkeyPatch, step: int, setting: str, values: tuple[object, ...]) -> None:
    """Have the environment say it (steps 0 and 1), the TOML file (0 to 2), or nothing (3)."""
    group, _, key = setting.rpartition(".")
    if step <= 2:
        Path("nextclick.toml").write_text(f"[{group}]\n{toml(key, values[2])}" if group else toml(key, values[2]))
    if step <= 1:
        monkeypatch.setenv(f"NEXTCLICK_{setting.upper().replace('.', '__')}", str(values[1]))


def toml(key: str, value: object) -> str:
    shown = str(value).lower() if isinstance(value, bool) else value if isinstance(value, int) else f"{str(value)!r}"
    return f"{key} = {shown}\n"


def started(*typed: str) -> StackSettings:
    """Run a command that starts a stack, and return what it would run with."""
    result = CliRunner().invoke(build_app(), typed)
    assert isinstance(result.exception, Started), result.output
    return result.exception.settings


@pytest.mark.parametrize("step", range(4), ids=["option", "environment", "toml", "default"])
@pytest.mark.parametrize(("option", "setting", "values"), UP, ids=[words[0] for words, *_ in UP])
def test_up_takes_the_option_then_the_environment_then_toml_then_the_default(
    option: list[str], setting: str, values: tuple[object, ...], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(monkeypatch, step, setting, values)
    assert value_of(started("up", *(option if step == 0 else [])), setting) == values[step]


@pytest.mark.parametrize("step", range(4), ids=["option", "environment", "toml", "default"])
def test_the_demo_listens_where_the_settings_say(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = (9001, 9002, 9003, 8080)
    said(monkeypatch, step, "stack.port", values)
    settings = started("demo", "--once", *(["--port", "9001"] if step == 0 else []))
    assert settings.stack.port == values[step]


def test_the_demo_has_files_models_and_a_redis_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_STACK__FOLDER", "mine")
    monkeypatch.setenv("NEXTCLICK_STACK__EMBEDDED_REDIS", "false")
    monkeypatch.setenv("NEXTCLICK_ARTIFACTS", "mine")
    settings = started("demo", "--once")
    assert settings.stack.embedded_redis
    assert settings.stack.folder.name.startswith("nextclick-demo-")
    assert Path(settings.artifacts).name == "shop_artifacts"


SCENARIO = (
    ("artifacts", ("given", "env", "toml", "")),
    ("stack.gateways", (4, 3, 2, 1)),
    ("stack.session_workers", (4, 3, 2, 1)),
)


@pytest.mark.parametrize("step", range(4), ids=["given", "environment", "toml", "default"])
@pytest.mark.parametrize(("setting", "values"), SCENARIO, ids=[name for name, _ in SCENARIO])
def test_a_scenario_takes_what_it_says_then_the_settings(
    setting: str, values: tuple[object, ...], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(monkeypatch, step, setting, values)
    in_file = f"[stack]\n{setting.removeprefix('stack.')} = {values[0]}\n" if step == 0 and "." in setting else ""
    Path("bad-day.toml").write_text(f'name = "a bad day"\n{in_file}')
    write_events(Path("day.jsonl.zst"), visits())
    option = ["--artifacts", "given"] if step == 0 and setting == "artifacts" else []
    settings = started("replay", "scenario", "bad-day.toml", "day.jsonl.zst", *option)
    assert value_of(settings, setting) == values[step]


INDEX = (
    ("index.folder", {"folder": Path("given")}, ("given", "env", "toml")),
    ("artifacts", {"artifacts": Path("given")}, ("given", "env", "toml")),
    ("redis.url", {"redis": "redis://given/0"}, ("redis://given/0", "redis://env/0", "redis://toml/0")),
)


@pytest.mark.parametrize("step", range(3), ids=["option", "environment", "toml"])
@pytest.mark.parametrize(("setting", "given", "values"), INDEX, ids=[name for name, *_ in INDEX])
def test_the_index_takes_the_option_then_the_environment_then_toml(
    setting: str, given: dict[str, Any], values: tuple[object, ...], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if setting != "index.folder":
        monkeypatch.setenv("NEXTCLICK_INDEX__FOLDER", "some")
    said(monkeypatch, step, setting, values)
    assert value_of(index_settings(**(given if step == 0 else {})), setting) == values[step]


@pytest.mark.parametrize("step", range(3), ids=["option", "environment", "toml"])
@pytest.mark.parametrize("command", ["inspect", "verify", "rollback"])
def test_every_index_command_reads_the_folder_in_that_order(
    command: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(monkeypatch, step, "index.folder", ("given", "env", "toml"))
    result = CliRunner().invoke(build_app(), ["index", command, *(["--folder", "given"] if step == 0 else [])])
    assert ("given", "env", "toml")[step] in str(result.exception)


URLS = ("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3", "http://127.0.0.1:8080")
TALKING = {
    "items load": ["items.jsonl"],
    "replay play": ["day.jsonl.zst"],
    "replay limit": ["day.jsonl.zst", "--slo", "p99<50ms"],
    "replay freshness": ["--seconds", "1"],
}


@pytest.mark.parametrize("step", range(3), ids=["option", "environment", "toml"])
@pytest.mark.parametrize("command", TALKING)
def test_a_command_that_talks_to_a_gateway_finds_it_where_up_puts_it(
    command: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_events(Path("day.jsonl.zst"), visits())
    Path("items.jsonl").write_text('{"item_id": "a", "title": "A"}\n')
    said(monkeypatch, step, "stack.port", (1, 2, 3, 8080))
    result = CliRunner().invoke(
        build_app(), [*command.split(), *TALKING[command], *(["--url", URLS[0]] if step == 0 else [])]
    )
    assert URLS[step] in str(result.exception)


@pytest.mark.parametrize("step", range(4), ids=["option", "environment", "toml", "default"])
def test_an_export_goes_where_the_gateway_is(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write_events(Path("day.jsonl.zst"), visits())
    said(monkeypatch, step, "stack.port", (1, 2, 3, 8080))
    typed = ["replay", "export", "day.jsonl.zst", "-o", "targets.jsonl"]
    result = CliRunner().invoke(build_app(), [*typed, *(["--url", URLS[0]] if step == 0 else [])])
    assert result.exit_code == 0, result.output
    assert f'"url":"{URLS[step]}/' in Path("targets.jsonl").read_text()


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:8080"), ("::", "http://[::1]:8080"), ("10.0.0.7", "http://10.0.0.7:8080")],
)
def test_a_gateway_on_every_address_is_reached_on_this_machine(
    host: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTCLICK_STACK__HOST", host)
    assert gateway_url() == url


def test_a_port_that_nobody_knows_has_to_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_STACK__PORT", "0")
    assert gateway_url("http://127.0.0.1:5") == "http://127.0.0.1:5"
    with pytest.raises(SettingsError, match="expected the gateway's port"):
        gateway_url()


# A stack as commands find it: whoever holds the folder's lock has a child that looks like a gateway.
STACK = """
import fcntl, os, pathlib, subprocess, sys
lock = pathlib.Path(sys.argv[1]) / "lock"
lock.parent.mkdir(parents=True)
held = lock.open("w")
fcntl.flock(held, fcntl.LOCK_EX)
gateway = [sys.executable, "-c", "print('runs', flush=True); input()", "-m", "gateway"]
subprocess.run(gateway, env={**os.environ, "NEXTCLICK_GATEWAY__PORT": "18510", "NEXTCLICK_GATEWAY__HOST": "::1"})
"""


@pytest.fixture
def stack_that_runs() -> Iterator[None]:
    command = [sys.executable, "-c", STACK, ".nextclick/stack"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stack:
        assert stack.stdout is not None
        assert stack.stdout.readline() == "runs\n"
        yield
        stack.communicate("\n")


@pytest.mark.usefixtures("stack_that_runs")
@pytest.mark.parametrize("command", ["scenario list", "experiment list", "replay freshness --seconds 1"])
def test_without_a_setting_a_command_talks_to_the_stack_that_runs(command: str) -> None:
    result = CliRunner().invoke(build_app(), command.split())
    assert "http://[::1]:18510" in str(result.exception)


@pytest.mark.usefixtures("stack_that_runs")
def test_a_setting_goes_before_the_stack_that_runs_but_not_a_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_STACK__HOST", "0.0.0.0")
    assert gateway_url() == "http://127.0.0.1:18510"
    monkeypatch.setenv("NEXTCLICK_STACK__PORT", "0")
    assert gateway_url() == "http://127.0.0.1:18510"
    monkeypatch.setenv("NEXTCLICK_STACK__PORT", "9")
    assert gateway_url() == "http://127.0.0.1:9"


@pytest.mark.parametrize("step", range(4), ids=["option", "environment", "toml", "default"])
def test_the_globo_benchmark_takes_its_half_life_in_that_order(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said(monkeypatch, step, "trend.half_life", (None, "PT2H", "PT3H", "PT12H"))
    assert half_life_of(1.0 if step == 0 else None) == (1.0, 2.0, 3.0, 12.0)[step]


def test_no_option_that_a_setting_stands_behind_has_a_default_of_its_own() -> None:
    same = {
        "port",
        "folder",
        "artifacts",
        "gateways",
        "session_workers",
        "demo_page",
        "url",
        "redis",
        "half_life_hours",
    }
    needed = {
        ("train", "reranker", "artifacts"),  # read and written: has to be given
        ("bench", "profile", "gateways"),  # a benchmark measures the stacks that it is told to
        ("bench", "serving", "gateways"),
    }
    for path, command in commands(get_command(build_app())):
        for parameter in command.params:
            if (
                parameter.name in same
                and parameter.param_type_name == "option"
                and (*path, parameter.name) not in needed
            ):
                assert parameter.default is None, (path, parameter.name)


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in getattr(group, "commands", {}).items():
        yield (*path, name), command
        yield from commands(command, (*path, name))


def test_what_is_no_setting_is_refused() -> None:
    with pytest.raises(KeyError):
        with_given(StackSettings(), {"stack.prot": None})


def visits() -> list[Any]:
    return list(shoppers(make_shop(np.random.default_rng(1), 300), 5, np.random.default_rng(2)))
