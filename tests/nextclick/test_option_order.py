"""What a command runs with: the option that was given, else the environment, the TOML file, the default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nextclick.stack.settings import StackSettings, gateway_url, up_settings
from tests.nextclick.test_cli import nextclick

# option of `up`, its place in the settings, and a value for the option, the environment, the TOML file
STACK = [
    ("port", ("stack", "port"), 7001, 7002, 7003, 8080),
    (
        "folder",
        ("stack", "folder"),
        Path("by-option"),
        Path("by-environment"),
        Path("by-toml"),
        Path(".nextclick/stack"),
    ),
    ("gateways", ("stack", "gateways"), 2, 3, 4, 1),
    ("session_workers", ("stack", "session_workers"), 2, 3, 4, 1),
    ("demo_page", ("stack", "demo_page"), False, True, True, False),
    ("build_index", ("index", "builder"), True, False, False, True),
    ("artifacts", ("artifacts",), "by-option", "by-environment", "by-toml", ""),
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXTCLICK_CONFIG", raising=False)


def value(settings: StackSettings, place: tuple[str, ...]) -> Any:
    found: Any = settings
    for name in place:
        found = getattr(found, name)
    return found


@pytest.mark.parametrize(("option", "place", "by_option", "by_environment", "by_toml", "default"), STACK)
def test_up_obeys_the_option_then_the_environment_then_the_file_then_the_default(
    option: str,
    place: tuple[str, ...],
    by_option: Any,
    by_environment: Any,
    by_toml: Any,
    default: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert value(up_settings(), place) == default
    table = f"[{place[0]}]\n" if len(place) == 2 else ""
    (tmp_path / "nextclick.toml").write_text(f"{table}{place[-1]} = {written(by_toml)}\n")
    assert value(up_settings(), place) == by_toml
    monkeypatch.setenv("NEXTCLICK_" + "__".join(place).upper(), str(by_environment))
    assert value(up_settings(), place) == by_environment
    assert value(up_settings(**{option: by_option}), place) == by_option


def written(one: object) -> str:
    return str(one).lower() if isinstance(one, bool | int) else f'"{one}"'


def test_an_option_of_a_group_leaves_its_neighbours_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_STACK__GATEWAYS", "3")
    monkeypatch.setenv("NEXTCLICK_INDEX__EXPANSION", "77")
    settings = up_settings(port=7001)
    assert (settings.stack.port, settings.stack.gateways, settings.index.expansion) == (7001, 3, 77)


def test_commands_call_the_gateway_that_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gateway_url() == "http://127.0.0.1:8080"
    (tmp_path / "nextclick.toml").write_text('[stack]\nhost = "0.0.0.0"\nport = 7003\n')
    assert gateway_url() == "http://127.0.0.1:7003"
    monkeypatch.setenv("NEXTCLICK_STACK__PORT", "7002")
    assert gateway_url() == "http://127.0.0.1:7002"


@pytest.mark.parametrize("words", [["items", "load", "items.jsonl"]])
def test_an_address_that_was_given_overrides_the_settings(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"item_id": "a", "title": "A"}\n')
    by_setting = nextclick(*words, cwd=tmp_path, NEXTCLICK_STACK__PORT="7")
    assert "http://127.0.0.1:7" in by_setting.stderr + by_setting.stdout
    by_option = nextclick(*words, "--url", "http://127.0.0.1:9", cwd=tmp_path, NEXTCLICK_STACK__PORT="7")
    assert "http://127.0.0.1:9" in by_option.stderr + by_option.stdout
