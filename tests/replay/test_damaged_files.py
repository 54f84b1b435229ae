"""Files that were cut short or damaged: one line that names the file, and no output in place of what they held."""

from __future__ import annotations

import gzip
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from typer.testing import CliRunner

from contracts.errors import ImportFormatError
from contracts.settings import RedisSettings
from eventlog.files import read_events, read_items, read_raw, write_events
from eventlog.packed import opened
from nextclick.cli import groups
from replay.measure.answer_log import read_answers
from tests.nextclick.test_cli import nextclick
from tests.replay.test_importers import HOURS, as_zip
from tests.replay.test_live import click

TYPED = CliRunner()
DAMAGED = "it was cut short or is damaged"
MAP = ["--map", "session_id=S,item_id=I,ts=T"]
WHOLE = "S,I,T\n" + "".join(f"s{n % 97},{random.Random(n).random()},{1396437466940 + n}\n" for n in range(20_000))
OTTO = b'{"session":1,"events":[{"aid":2,"ts":1661724000278,"type":"clicks"}]}\n' * 5000


def zst(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def cut(packed: bytes) -> bytes:
    return packed[: 2 * len(packed) // 3]


def flipped(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]


def plain(packed: bytes) -> bytes:
    return WHOLE.encode()


def nothing(packed: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("harm", [cut, flipped, plain, nothing])
@pytest.mark.parametrize(("ending", "pack"), [("zst", zst), ("gz", gzip.compress)])
def test_a_packed_table_that_is_not_whole_is_one_line_and_no_output(
    ending: str, pack: Callable[[bytes], bytes], harm: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    (tmp_path / f"t.csv.{ending}").write_bytes(harm(pack(WHOLE.encode())))
    said = nextclick("import", "csv", f"t.csv.{ending}", "-o", "out.jsonl.zst", *MAP, cwd=tmp_path)
    assert said.returncode == 1
    assert said.stderr.startswith(f"error t.csv.{ending}: {DAMAGED} (")
    assert said.stderr.count("\n") == 1
    assert [one.name for one in tmp_path.iterdir()] == [f"t.csv.{ending}"]


@pytest.mark.parametrize(("ending", "pack"), [("zst", zst), ("gz", gzip.compress)])
def test_a_file_of_several_parts_is_read_whole_and_its_last_part_must_end(
    ending: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    parts, path = pack(b"one\n") + pack(b"") + pack(b"two\n" * 100_000), tmp_path / f"x.{ending}"
    path.write_bytes(parts)
    with opened(path) as file:
        assert file.read() == b"one\n" + b"two\n" * 100_000
    path.write_bytes(parts[:-1])
    with opened(path) as file, pytest.raises(ImportFormatError, match=DAMAGED):
        file.read()


@pytest.mark.parametrize("harm", [cut, flipped])
def test_a_zip_with_a_damaged_member_or_a_damaged_end_says_so(harm: Callable[[bytes], bytes], tmp_path: Path) -> None:
    source = tmp_path / "otto.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.jsonl", OTTO)
    source.write_bytes(harm(source.read_bytes()))
    out = tmp_path / "out.jsonl.zst"
    outcome = TYPED.invoke(groups()["import"], ["otto", str(source), "-o", str(out)])
    assert isinstance(outcome.exception, ImportFormatError)
    assert DAMAGED in str(outcome.exception)
    assert not out.exists()


def test_the_publishers_zip_of_hours_that_was_cut_short_says_so(tmp_path: Path) -> None:
    source = as_zip(tmp_path, HOURS)
    source.write_bytes(cut(source.read_bytes()))
    outcome = TYPED.invoke(groups()["import"], ["globo", str(source), "-o", str(tmp_path / "out.jsonl.zst")])
    assert isinstance(outcome.exception, ImportFormatError)
    assert DAMAGED in str(outcome.exception)


def test_a_member_that_needs_a_password_says_what_to_do(tmp_path: Path) -> None:
    source = tmp_path / "otto.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("train.jsonl", OTTO)
    raw = bytearray(source.read_bytes())
    raw[6] |= 1  # the flag in front of the member, and the one in the list of files
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(raw)
    outcome = TYPED.invoke(groups()["import"], ["otto", str(source), "-o", str(tmp_path / "out.jsonl.zst")])
    assert isinstance(outcome.exception, ImportFormatError)
    assert "it cannot be unpacked" in str(outcome.exception)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording that was cut at two thirds."""
    path = tmp_path / "day.jsonl.zst"
    write_events(path, [click(n, f"s{n % 50}", f"i{random.Random(n).random()}") for n in range(20_000)])
    path.write_bytes(cut(path.read_bytes()))
    return path


def test_a_recording_that_was_cut_short_gives_what_is_whole_and_then_says_so(recording: Path) -> None:
    read: list[bytes] = []
    with pytest.raises(ImportFormatError, match=rf"{DAMAGED} .*; the header counts 20000 events, \d+ could be read"):
        read.extend(read_raw(recording))
    with pytest.raises(ImportFormatError, match=DAMAGED):
        list(read_events(recording))


@pytest.mark.parametrize(
    "typed",
    [
        ["replay", "play", "day.jsonl.zst", "--speed", "1000000", "--into", "log", "--out", "result.json"],
        ["replay", "play", "day.jsonl.zst", "--speed", "1000000", "--into", "log", "--workers", "2"],
        ["replay", "anonymise", "day.jsonl.zst", "result.json.zst"],
        ["replay", "export", "day.jsonl.zst", "-o", "result.json"],
        ["train", "session-model", "day.jsonl.zst", "--out", "result"],
        ["evaluate", "next-item", "--train", "day.jsonl.zst"],
    ],
    ids=lambda typed: "-".join(typed[:2]),
)
def test_a_command_on_a_recording_that_was_cut_short_ends_in_one_line(
    typed: list[str], recording: Path, redis_settings: RedisSettings
) -> None:
    said = nextclick(*typed, cwd=recording.parent, NEXTCLICK_REDIS__URL=redis_settings.url)
    assert said.returncode == 1, said.stderr
    assert DAMAGED in said.stderr.splitlines()[-1]
    assert "Traceback" not in said.stderr
    assert [one.name for one in recording.parent.iterdir()] == ["day.jsonl.zst"]


ITEM = b'{"item_id":"a","title":"t"}\n'
ANSWER = b'{"question":1,"session_id":"s","items":[],"reasons":[],"hit":false,"dropped":null,"counts":null}\n'


def test_items_and_answers_that_were_cut_short_say_so(tmp_path: Path) -> None:
    items, answers = tmp_path / "items.jsonl.zst", tmp_path / "answers.jsonl.zst"
    items.write_bytes(zst(ITEM * 50_000)[:-1])
    answers.write_bytes(zst(ANSWER * 50_000)[:-1])
    with pytest.raises(ImportFormatError, match=rf"items.jsonl.zst: {DAMAGED}"):
        list(read_items(items))
    with pytest.raises(ImportFormatError, match=rf":\d+: expected answers of a replay: .*{DAMAGED}"):
        list(read_answers(answers))
