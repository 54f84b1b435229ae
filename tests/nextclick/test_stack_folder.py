"""A stack takes a folder that is new, or its own: files that lie where its own would go are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import OutputRefused, StartupError
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack, lock_folder
from tests.nextclick.test_cli import nextclick
from tests.nextclick.trees import tree_of


@pytest.mark.parametrize("name", ["redis/appendonly.aof", "logs/items.log", "trends/part-0.sqlite3", "redis"])
def test_files_where_the_stacks_own_would_go_are_left_alone(name: str, tmp_path: Path) -> None:
    path = tmp_path / "shop" / name
    path.parent.mkdir(parents=True)
    path.write_text("the only copy")
    before = tree_of(tmp_path)
    shown = nextclick("up", "--port", "0", "--folder", str(tmp_path / "shop"))
    assert shown.returncode == 1
    assert shown.stderr.startswith(
        f"error {tmp_path / 'shop'}: expected a new folder, or one that a stack made, found "
    )
    assert len(shown.stderr.splitlines()) == 1
    assert tree_of(tmp_path) == before


def test_other_files_in_the_folder_do_no_harm_and_come_to_none(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "logs").mkdir()
    lock_folder(tmp_path).close()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    (tmp_path / "logs" / "items.log").write_text("of the stack before")
    lock_folder(tmp_path).close()


def test_a_lock_is_never_emptied_and_a_link_is_none(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("resolved = 1")
    lock_folder(tmp_path).close()
    assert (tmp_path / "lock").read_text() == "resolved = 1"
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "lock").symlink_to(tmp_path / "lock")
    with pytest.raises(OutputRefused, match="expected a stack's lock"):
        lock_folder(tmp_path / "linked")


def test_a_recovery_store_that_is_none_stops_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "trends").mkdir()
    (tmp_path / "trends" / "part-0.sqlite3").write_text("the only copy")
    stack = Stack(StackSettings(stack=StackOptions(port=0, folder=tmp_path)))
    with pytest.raises(StartupError, match=r"part-0.sqlite3: expected the recovery store of the trends flow") as told:
        stack.start()
    assert "\n" not in str(told.value)
    assert (tmp_path / "trends" / "part-0.sqlite3").read_text() == "the only copy"
