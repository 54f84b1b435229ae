"""Tables without a visitor: rows of others stay byte for byte, whatever becomes of the program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pyarrow
import pytest
from pyarrow import parquet

from eventlog.erase_tables import Asked, erase

JSONL = b'{"user_id":"anna","items":["a"]}\n{"user_id": "ben", "items": []}\nno json\n{"session_id":"s1"}\n'
CSV = 'user_id,session_id,note\r\nanna,s1,x\r\nben,s2,"two\r\nlines"\r\n,s1,y\r\nben,s1,z\r\n'
ASKED = Asked("anna", ["s1"])


def test_rows_of_a_visitor_go_and_those_of_others_stay_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    picks, table, other = tmp_path / "picks.jsonl", tmp_path / "below" / "picks.csv", tmp_path / "other.csv"
    picks.write_bytes(JSONL)
    table.write_bytes(CSV.encode())
    other.write_bytes(b"name,price\nanna,1\n")
    parquet.write_table(pyarrow.table({"user_id": ["anna", "ben", None], "n": [1, 2, 3]}), tmp_path / "p.parquet")
    assert erase(tmp_path, ASKED) == 5
    assert picks.read_bytes() == b'{"user_id": "ben", "items": []}\nno json\n'
    assert table.read_bytes().decode() == 'user_id,session_id,note\r\nben,s2,"two\r\nlines"\r\nben,s1,z\r\n'
    assert other.read_bytes() == b"name,price\nanna,1\n"
    assert parquet.read_table(tmp_path / "p.parquet").to_pydict() == {"user_id": ["ben", None], "n": [2, 3]}
    assert erase(tmp_path, ASKED) == 0


def test_a_session_alone_takes_all_of_its_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CSV.encode())
    assert erase(tmp_path, Asked(None, ["s1"])) == 3


@pytest.mark.parametrize(("folder", "said"), [("there", b"1\n"), ("nowhere", b"0\n")])
def test_as_a_program_it_is_told_names_on_its_input(tmp_path: Path, folder: str, said: bytes) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "picks.jsonl").write_bytes(b'{"user_id":"anna"}\n')
    done = subprocess.run(
        [sys.executable, "-m", "eventlog.erase_tables", str(tmp_path / folder)],
        input=orjson.dumps({"user": "anna", "sessions": [], "at_ms": 1}),
        capture_output=True,
        check=True,
    )
    assert done.stdout == said
