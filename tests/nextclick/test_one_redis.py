"""A stack's folder and an address of Redis that contradict each other are refused, by every command that takes both."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

import nextclick
from contracts.errors import SettingsError
from nextclick.cli import build_app
from state.ports import free_port


def test_a_folder_with_a_redis_of_its_own_and_another_address_in_the_environment_are_refused_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"redis://:a-password@127.0.0.1:{free_port()}/0"
    folder = tmp_path / "stack"
    (folder / "redis").mkdir(parents=True)
    (folder / "redis" / "redis.conf").write_text("requirepass own\n")
    (folder / "lock").touch()
    monkeypatch.setenv("NEXTCLICK_REDIS__URL", other)
    said = CliRunner().invoke(build_app("doctor"), ["doctor", "--folder", str(folder), "--json"])
    [found] = orjson.loads(said.output)["findings"]
    assert (said.exit_code, found["name"], found["expected"]) == (1, "redis", "one Redis to look at")
    for words in (
        ["backup", str(tmp_path / "b")],
        ["items", "shards", "2"],
        ["restore", str(tmp_path / "b")],
        ["restore", str(tmp_path / "b"), "--replace"],
    ):
        refused = CliRunner().invoke(build_app(words[0]), [*words, "--folder", str(folder)])
        assert isinstance(refused.exception, SettingsError), words
        assert str(refused.exception).startswith(f"expected one Redis, got two: --folder {folder}, whose stack has")
        assert "a-password" not in str(refused.exception)
    new = CliRunner().invoke(build_app("restore"), ["restore", str(tmp_path / "b"), "--folder", str(tmp_path / "new")])
    assert "whose stack would have a Redis of its own" in str(new.exception)
    named = CliRunner().invoke(build_app("doctor"), ["doctor", "--folder", str(folder), "--redis", other, "--json"])
    assert orjson.loads(named.output)["looked_at"]["redis"] == other.rpartition("@")[2].removesuffix("/0")
    monkeypatch.setenv("NEXTCLICK_STACK__EMBEDDED_REDIS", "false")  # the stack says itself that it uses the other
    meant = CliRunner().invoke(build_app("doctor"), ["doctor", "--folder", str(folder), "--json"])
    assert orjson.loads(meant.output)["looked_at"]["redis"] == other.rpartition("@")[2].removesuffix("/0")


def test_every_command_that_takes_a_stacks_folder_and_a_redis_is_known_here() -> None:
    """Each of them refuses two that contradict each other, in the test above."""
    found = set()
    for path in (Path(nextclick.__file__).parent / "commands").glob("*.py"):
        text = path.read_text()
        if 'setting_option("stack.folder"' in text and 'setting_option("redis.url"' in text:
            found.add(path.stem)
            assert "expect_one_redis(" in text or path.stem == "doctor", path
    assert found == {"backup", "doctor", "items_shards", "restore"}
