"""The recovery store of the trends flow: what is put aside stays, and what is none is left alone."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from contracts.errors import OutputRefused
from flows.trend_recovery import STATE_VERSION, prepare_recovery
from tests.nextclick.trees import tree_of


def of_another_release(folder: Path, release: int) -> None:
    """Mark the store as one of another release, and make it tell from the others."""
    (folder / "state-version").write_text("1")
    with closing(sqlite3.connect(folder / "part-0.sqlite3")) as opened:
        opened.execute(f"PRAGMA application_id = {release}")


def release_of(store: Path) -> int:
    with closing(sqlite3.connect(store)) as opened:
        return int(opened.execute("PRAGMA application_id").fetchone()[0])


def test_every_store_that_is_put_aside_stays(tmp_path: Path) -> None:
    prepare_recovery(tmp_path)
    for release in (7, 8, 9):
        of_another_release(tmp_path, release)
        prepare_recovery(tmp_path)
    first = f"before-version-{STATE_VERSION}"
    found = [tmp_path / name / "part-0.sqlite3" for name in (first, f"{first}-2", f"{first}-3")]
    assert [release_of(path) for path in found] == [7, 8, 9]
    assert release_of(tmp_path / "part-0.sqlite3") == 0


def test_a_store_of_this_release_is_left_as_it_is(tmp_path: Path) -> None:
    prepare_recovery(tmp_path)
    before = tree_of(tmp_path)
    prepare_recovery(tmp_path)
    assert tree_of(tmp_path) == before


@pytest.mark.parametrize("kind", ["text", "another database", "link"])
def test_what_is_no_store_is_neither_moved_nor_opened(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "trends"
    folder.mkdir()
    path = folder / "part-7.sqlite3"
    if kind == "text":
        path.write_text("the only copy")
    elif kind == "link":
        prepare_recovery(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere" / "part-0.sqlite3")
    else:
        with closing(sqlite3.connect(path)) as opened:
            opened.execute("CREATE TABLE orders (id)")
    before = tree_of(tmp_path)
    with pytest.raises(OutputRefused, match="expected the recovery store of the trends flow, found "):
        prepare_recovery(folder)
    command = [sys.executable, "-m", "flows.trend_recovery", str(folder)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout, len(told.stderr.splitlines())) == (1, "", 1)
    assert tree_of(tmp_path) == before


def test_a_store_with_a_damaged_page_is_put_aside(tmp_path: Path) -> None:
    """Its tables can be counted, and its snapshots cannot be read: the flow would die of it at every start."""
    folder = tmp_path / "trends"
    prepare_recovery(folder)
    (part,) = folder.glob("part-*.sqlite3")
    with closing(sqlite3.connect(part)) as store:
        store.execute("PRAGMA journal_mode = DELETE")
        for at in range(400):
            row = ("step", f"key-{at}", at, b"x" * 3000)
            store.execute("INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)", row)
        store.commit()
    with part.open("r+b") as file:
        for page in range(40, 120, 3):
            file.seek(4096 * page)
            file.write(b"\xa5" * 4096)

    prepare_recovery(folder)
    assert [one.name for one in folder.glob("damaged/*.sqlite3")] == ["part-0.sqlite3"]
