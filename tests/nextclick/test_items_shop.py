"""`nextclick items shop`: files to try commands on, the same for the same seed, and nobody else's file replaced."""

from __future__ import annotations

from pathlib import Path

from eventlog.files import read_header, read_items
from tests.nextclick.test_cli import nextclick


def test_the_shop_is_written_once_and_the_same_again(tmp_path: Path) -> None:
    said = nextclick("items", "shop", "shop", "--sessions", "20", cwd=tmp_path)
    assert "of 20 visits: shop" in said.stdout
    first = (tmp_path / "shop" / "events.jsonl.zst").read_bytes()
    assert read_header(tmp_path / "shop" / "events.jsonl.zst").sessions == 20
    assert len(list(read_items(tmp_path / "shop" / "items.jsonl.zst"))) > 1000
    assert nextclick("items", "shop", "shop", "--sessions", "20", cwd=tmp_path).returncode == 0
    assert (tmp_path / "shop" / "events.jsonl.zst").read_bytes() == first


def test_another_file_in_its_place_is_left(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl.zst").write_text("mine")
    said = nextclick("items", "shop", ".", cwd=tmp_path)
    assert said.returncode == 1
    assert "it was left as it is" in said.stderr
    assert (tmp_path / "items.jsonl.zst").read_text() == "mine"


def test_a_list_that_is_no_json_is_refused_in_one_line(tmp_path: Path) -> None:
    said = nextclick("up", cwd=tmp_path, NEXTCLICK_PIPELINE__RULES="[shop_rules:no_lamps]")
    assert said.returncode == 1
    assert said.stderr == (
        "error NEXTCLICK_PIPELINE__RULES: expected words with commas between them, or JSON as in "
        '["a", "b"], got \'[shop_rules:no_lamps]\'\n'
    )
