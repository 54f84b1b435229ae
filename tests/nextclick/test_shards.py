"""`nextclick items shards`: another number of shards for the catalogue of a stack that is down."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.errors import StateUnavailable
from contracts.ids import item_key
from contracts.settings import RedisSettings
from nextclick.cli import build_app
from state.embedded import EmbeddedRedis
from state.shards import catalogue_reader, catalogue_writer

ROWS = {item_key(f"i{n}").to_bytes(8, "little"): b"row" for n in range(50)}


def test_the_catalogue_of_a_stack_that_is_down_gets_shards_and_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEXTCLICK_REDIS__URL", raising=False)
    (tmp_path / "lock").touch()
    with EmbeddedRedis(tmp_path / "redis") as server, closing(catalogue_writer(RedisSettings(url=server.url))) as table:
        table.commit(ROWS)
    told = CliRunner().invoke(build_app("items"), ["items", "shards", "3", "--folder", str(tmp_path)])
    assert told.exit_code == 0, told.exception
    assert told.stdout.splitlines() == [
        "The catalogue had 1, and has 3 shards now: 50 rows.",
        "Set NEXTCLICK_REDIS__ITEM_SHARDS=3 wherever Nextclick runs.",
    ]
    with EmbeddedRedis(tmp_path / "redis") as server:
        settings = RedisSettings(url=server.url, item_shards=3)
        with closing(catalogue_reader(settings)) as reader:
            assert {key: row for page in reader.rows() for key, row in page} == ROWS
        told = CliRunner().invoke(build_app("items"), ["items", "shards", "1", "--redis", server.url])
        assert told.stdout.splitlines()[0] == "The catalogue had 3, and has 1 shard now: 50 rows."
        told = CliRunner().invoke(build_app("items"), ["items", "shards", "1", "--redis", server.url])
        assert told.stdout.splitlines()[0] == "The catalogue has 1 shard already: 50 rows."


def test_more_shards_than_there_may_be_are_refused() -> None:
    told = CliRunner().invoke(build_app("items"), ["items", "shards", "65"])
    assert told.exit_code == 2
    assert "less than or equal to 64" in " ".join(told.stderr.split())


def test_the_command_of_before_says_its_name_of_now_and_does_the_same() -> None:
    told = CliRunner().invoke(build_app("shards"), ["shards", "65"])
    assert told.exit_code == 2
    assert "less than or equal to 64" in " ".join(told.stderr.split())
    told = CliRunner().invoke(build_app("shards"), ["shards", "2", "--redis", "redis://127.0.0.1:1/0"])
    assert isinstance(told.exception, StateUnavailable)
    assert told.stderr.splitlines()[0] == "`nextclick shards` is called `nextclick items shards` now."
    assert "│ shards" not in CliRunner().invoke(build_app(), ["--help"]).stdout
