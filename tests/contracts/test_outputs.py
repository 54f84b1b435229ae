"""What may be replaced: nothing, what is empty, an earlier output of the same kind; and never half."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from contracts import outputs
from contracts.errors import OutputRefused
from contracts.outputs import (
    FolderKind,
    expect_outputs,
    expect_replaceable,
    json_kind,
    lines_kind,
    made_aside,
    read_document,
    text_kind,
    write_output,
    written_aside,
)

RESULT = json_kind("a result", "rows", "seed")
LINES = lines_kind("a log", lambda first: first.get("format") == "log")
PAGE = text_kind("a page", "<!doctype html>", 'content="ours"')
MODEL = FolderKind("a model", lambda folder: frozenset({"m.json", "a.npy"}) if (folder / "m.json").exists() else None)


def model(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in ("m.json", "a.npy", *names):
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (RESULT, b'{"rows": [], "seed": 1, "more": 2}'),
        (LINES, b'{"format": "log"}\n\xff\xff'),
        (LINES, zstandard.compress(b'{"format": "log"}\n' + b"x" * 100_000)),
        (PAGE, b'<!doctype html><meta name="generator" content="ours">'),
        (RESULT, b""),
    ],
)
def test_an_earlier_output_is_replaced(tmp_path: Path, kind: outputs.FileKind, content: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(content)
    write_output(path, b"new", kind)
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", [RESULT, LINES, PAGE])
@pytest.mark.parametrize(
    "content",
    [
        b"%PDF-1.4",
        b'{"rows": []}',
        b'{"rows": [], "seed": ',
        b"[1]",
        b"\x28\xb5\x2f\xfd broken",
        b"{" * 10_000,
        b"<!doctype html><title>mine</title>",
        b"\n\n",
    ],
)
def test_a_file_of_another_kind_stays(tmp_path: Path, kind: outputs.FileKind, content: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(content)
    with pytest.raises(OutputRefused, match=r"out: expected nothing there, or a .* found another file \([0-9,]+ bytes"):
        write_output(path, b"new", kind)
    assert path.read_bytes() == content


def link_to_a_file(path: Path) -> None:
    (path.parent / "kept").write_bytes(b'{"rows": [], "seed": 1}')
    path.symlink_to(path.parent / "kept")


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def identity(path: Path) -> tuple[int, ...]:
    """Return what stays when a path is only looked at. The time of access changes: a folder is read."""
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (Path.mkdir, "a folder with nothing"),
        (lambda path: (path / "photos").mkdir(parents=True), "a folder with photos"),
        (link_to_a_file, "a symbolic link to "),
        (link_to_nothing, "a symbolic link to "),
        (pipe, "a device or a pipe"),
    ],
)
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, make: Callable[[Path], None], found: str) -> None:
    path = tmp_path / "out"
    make(path)
    before = identity(path)
    with pytest.raises(OutputRefused, match=found):
        expect_replaceable(path, LINES)
    assert identity(path) == before
    if (tmp_path / "kept").exists():
        assert (tmp_path / "kept").read_bytes() == b'{"rows": [], "seed": 1}'


def test_a_pipe_takes_what_is_written_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out")
    reading = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    write_output(tmp_path / "out", b"through", RESULT)
    assert os.read(reading, 100) == b"through"
    os.close(reading)
    expect_outputs((Path("/dev/stdout"), RESULT), (Path("/dev/stdout"), PAGE))
    with pytest.raises(OutputRefused):
        expect_replaceable(Path("/dev/null"), LINES)


def test_an_output_that_is_an_input_or_another_output_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b'{"rows": [], "seed": 1}')
    (tmp_path / "link").symlink_to(path)
    os.link(path, tmp_path / "hard")
    for given in (path, tmp_path / "link", tmp_path / "hard", tmp_path / "x" / ".." / "out"):
        with pytest.raises(OutputRefused, match=r"expected an output of its own, got an input too: name another"):
            expect_outputs((path, RESULT), inputs=[None, given])
    with pytest.raises(OutputRefused, match=r"got another output too"):
        expect_outputs((tmp_path / "new", RESULT), (None, RESULT), (tmp_path / "." / "new", PAGE))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_is_interrupted_leaves_the_old_one_whole(tmp_path: Path, error: type[BaseException]) -> None:
    path, folder = tmp_path / "out", model(tmp_path / "model")
    path.write_bytes(b'{"rows": [], "seed": 1}')

    def write_half() -> None:
        with written_aside(path, RESULT) as aside:
            aside.write_bytes(b"half")
            raise error

    def make_half() -> None:
        with made_aside(folder, MODEL) as new:
            (new / "m.json").write_text("half")
            raise error

    for half in (write_half, make_half):
        with pytest.raises(error):
            half()
    assert path.read_bytes() == b'{"rows": [], "seed": 1}'
    assert sorted(one.name for one in folder.iterdir()) == ["a.npy", "m.json"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model", "out"]


def test_what_appears_while_it_is_written_is_not_replaced(tmp_path: Path) -> None:
    def write() -> None:
        with written_aside(tmp_path / "out", RESULT) as aside:
            aside.write_bytes(b"new")
            (tmp_path / "out").write_bytes(b"somebody was here first")

    with pytest.raises(OutputRefused):
        write()
    assert (tmp_path / "out").read_bytes() == b"somebody was here first"


@pytest.mark.parametrize("atomic", [True, False])
def test_a_folder_is_exchanged_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool) -> None:
    if not atomic:  # as on a file system that cannot
        monkeypatch.setattr(outputs, "_exchange", lambda one, other: False)
    folder = model(tmp_path / "model")
    with made_aside(folder, MODEL) as new:
        (new / "m.json").write_text("new")
    assert [(one.name, one.read_text()) for one in folder.iterdir()] == [("m.json", "new")]
    assert [one.name for one in tmp_path.iterdir()] == ["model"]


def test_an_exchange_is_one_step_on_this_machine(tmp_path: Path) -> None:
    one, other = model(tmp_path / "one", "x"), model(tmp_path / "other", "y")
    if not outputs._exchange(one, other):
        pytest.skip("this file system cannot exchange folders")
    assert ((one / "y").exists(), (other / "x").exists()) == (True, True)


def test_a_folder_with_anything_beside_its_own_files_is_not_replaced(tmp_path: Path) -> None:
    for number, name in enumerate(("notes.txt", "a.npy.bak")):
        folder = model(tmp_path / str(number), name)
        with pytest.raises(OutputRefused, match=f"or a model to replace, found a folder with a.npy.*{name}"):
            expect_replaceable(folder, MODEL)
    (tmp_path / "link").symlink_to(model(tmp_path / "real"))
    with pytest.raises(OutputRefused, match="a symbolic link to"), made_aside(tmp_path / "link", MODEL):
        pass
    assert sorted(one.name for one in (tmp_path / "real").iterdir()) == ["a.npy", "m.json"]
    (tmp_path / "empty").mkdir()
    expect_replaceable(tmp_path / "empty", MODEL)


def test_a_document_is_an_object_or_none(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert read_document(path) is None
    for content, document in ((b'{"a": 1}', {"a": 1}), (b"[]", None), (b"\xff", None)):
        path.write_bytes(content)
        assert read_document(path) == document
    assert read_document(tmp_path) is None
