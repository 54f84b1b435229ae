"""Files of kept answers: whatever lies beside them or in them, answers are kept on and a damaged one is told."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
import zstandard

from gateway.answer_records import _HEADER, AnswersNotKept, drop_old, files_in, find

REQUEST = "ac7c02a4506c898765abc17d86e1aa70"
NAME = "answers-20261129T104701-21430.kept"


def test_what_is_no_file_of_answers_is_neither_read_nor_dropped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    (tmp_path / "answers-20261129T104702-1.kept").mkdir()
    (tmp_path / "answers-20261129T104703-1.kept").symlink_to("/dev/zero")
    (tmp_path / "answers-99999999T999999-1.kept").write_text("x")
    (tmp_path / "answers-20261129T104704-1.kept").write_text("x")
    assert [one.name for one in files_in(tmp_path)] == ["answers-20261129T104704-1.kept"]
    assert find(tmp_path, REQUEST) is None
    drop_old(tmp_path, 2**60, 0)
    assert files_in(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 4


def packed(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


ODD: tuple[object, ...] = ([1, 2, 3], {}, [b"", {}, [1]])
DAMAGED = [b"", b"xxxx", packed(b"\xc1"), packed(bytes(1 << 20)), *(packed(msgspec.msgpack.encode(one)) for one in ODD)]


@pytest.mark.parametrize(
    "data",
    DAMAGED,
    ids=["empty", "words", "invalid", "zeros", "numbers", "object", "rankings"],
)
def test_a_damaged_answer_is_told_in_a_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / NAME).write_bytes(_HEADER.pack(bytes.fromhex(REQUEST), 1, len(data)) + data)
    with pytest.raises(AnswersNotKept, match="the answer is damaged there"):
        find(tmp_path, REQUEST)
