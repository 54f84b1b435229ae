"""Versions of models: immutable, whole, one of them serving."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contracts.errors import ArtifactError, OutputRefused, SettingsError
from contracts.outputs import FileKind, written_aside
from contracts.retrain_status import OUTCOMES
from gateway.models import load_models
from nextclick.stack.shop_models import ARTIFACTS
from registry.folder import Registry, version_of
from registry.retrained import note_retrained, read_retrained
from registry.shadow import ShadowChoice
from tests.rerank.test_ranker import ranker

NOW = 1_795_000_000_000
SHOP = load_models(str(ARTIFACTS)).encoder
assert SHOP is not None


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The demo's session model with another re-ranker."""
    folder = Path(shutil.copytree(ARTIFACTS, tmp_path / "other"))
    ranker("popularity", SHOP.version if SHOP else 0).save(folder / "reranker")
    return folder


def test_a_version_serves_and_the_one_before_it_comes_back(tmp_path: Path, other: Path) -> None:
    registry = Registry(tmp_path / "models")
    first = registry.add(ARTIFACTS, now_ms=NOW, by="anna", note="the demo's")
    second = registry.add(other, now_ms=NOW + 1000)
    assert registry.names() == [first.name, second.name]
    assert first.name.startswith("20261118T110640-")
    assert registry.serving() is None
    serving = str(tmp_path / "models" / "serving")
    for name in (first.name, second.name):
        registry.publish(name, now_ms=NOW, why="tried")
        assert (version_of(serving), registry.serving()) == (name, name)
    assert registry.rollback(now_ms=NOW).name == first.name
    assert registry.rollback(now_ms=NOW).name == second.name
    assert [one.did for one in registry.history()] == ["published", "published", "rolled back", "rolled back"]
    found = load_models(serving)
    assert found.ranker is not None
    assert (found.version, found.ranker.version) == (second.session_model, second.reranker)


def test_the_same_files_are_one_version(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    first = registry.add(ARTIFACTS, now_ms=NOW)
    assert registry.add(ARTIFACTS, now_ms=NOW + 60_000) == first


def test_whatever_is_noted_beside_the_versions_is_no_strange_file(tmp_path: Path, other: Path) -> None:
    registry = Registry(tmp_path / "models")
    first = registry.add(ARTIFACTS, now_ms=NOW)
    registry.publish(first.name, now_ms=NOW)
    note_retrained(registry.folder, "refused", at_ms=NOW, took_s=2.0)
    left = registry.folder / ".retrained.json.1f3a.part"  # by whoever was killed while noting
    left.touch()
    second = registry.add(other, now_ms=NOW + 1000)
    assert left.exists(), "it may be in the making"
    os.utime(left, (0, 0))
    registry.pin(second.name)
    assert not left.exists()
    registry.publish(second.name, now_ms=NOW)
    registry.pin(None)
    assert registry.rollback(now_ms=NOW).name == first.name
    (registry.folder / "picture.png").touch()
    with pytest.raises(OutputRefused, match=r"found picture\.png in it"):
        registry.add(other, now_ms=NOW)


def test_a_damaged_version_does_not_serve(tmp_path: Path, other: Path) -> None:
    registry = Registry(tmp_path / "models")
    first, second = registry.add(ARTIFACTS, now_ms=NOW), registry.add(other, now_ms=NOW + 1000)
    registry.publish(first.name, now_ms=NOW)
    trees = registry.path_of(second.name) / "reranker" / "ranker.ubj"
    trees.write_bytes(trees.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        registry.publish(second.name, now_ms=NOW)
    manifest = registry.path_of(second.name) / "version.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"note": ""', b'"note": "x"'))
    with pytest.raises(ArtifactError, match="found it changed"):
        registry.read(second.name)
    assert registry.serving() == first.name


def test_a_pinned_version_stays_until_it_is_let_go(tmp_path: Path, other: Path) -> None:
    registry = Registry(tmp_path / "models")
    first, second = registry.add(ARTIFACTS, now_ms=NOW), registry.add(other, now_ms=NOW + 1000)
    registry.publish(first.name, now_ms=NOW)
    registry.pin(first.name)
    with pytest.raises(SettingsError, match=f"{first.name} is pinned"):
        registry.publish(second.name, now_ms=NOW)
    registry.pin(None)
    assert registry.publish(second.name, now_ms=NOW).before == first.name


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputRefused, match=r"found thesis\.txt in it"):
        Registry(tmp_path).add(ARTIFACTS, now_ms=NOW)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["thesis.txt"]


def test_a_folder_that_was_retrained_into_takes_the_next_version(tmp_path: Path, other: Path) -> None:
    registry = Registry(tmp_path / "models")
    first = registry.add(ARTIFACTS, now_ms=NOW)
    registry.publish(first.name, now_ms=NOW)
    note_retrained(tmp_path / "models", "refused", at_ms=NOW, took_s=1.0)
    second = registry.add(other, now_ms=NOW + 1000)
    registry.publish(second.name, now_ms=NOW + 1000)
    assert registry.serving() == second.name
    assert registry.rollback(now_ms=NOW + 2000).name == first.name


@pytest.mark.parametrize("name", ["../../etc", "", "serving", "20261129T045300-1f3a9c2e/x"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="expected the name of a version"):
        Registry(tmp_path).read(name)


def test_whoever_publishes_may_be_killed_at_any_moment(tmp_path: Path, other: Path) -> None:
    registry = Registry(tmp_path / "models")
    names = [registry.add(folder, now_ms=NOW + n * 1000).name for n, folder in enumerate((ARTIFACTS, other))]
    code = (
        "import sys\nfrom pathlib import Path\nfrom registry.folder import Registry\nfolder, *names = sys.argv[1:]\n"
        "registry = Registry(Path(folder))\n"
        "while True:\n    for name in names:\n        registry.publish(name, now_ms=1)\n"
        "    print('ready', flush=True)\n"
    )
    draw = random.Random(5)
    for _ in range(5):
        command = [sys.executable, "-P", "-c", code, str(registry.folder), *names]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(draw.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert registry.serving() in names
        assert version_of(str(registry.folder / "serving")) == registry.serving()
    assert registry.rollback(now_ms=NOW).name in names


def test_who_was_killed_between_the_two_links_takes_nothing_from_a_rollback(tmp_path: Path, other: Path) -> None:
    registry = Registry(tmp_path / "models")
    names = [registry.add(folder, now_ms=NOW + n * 1000).name for n, folder in enumerate((ARTIFACTS, other))]
    for name in names:
        registry.publish(name, now_ms=NOW)
    link = registry.folder / "previous"
    link.unlink()
    link.symlink_to(Path("versions") / names[1])  # the first was about to serve again
    assert (registry.serving(), registry.previous()) == (names[1], names[0])
    assert registry.rollback(now_ms=NOW).name == names[0]


def test_what_was_damaged_is_copied_again(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    names = [registry.add(ARTIFACTS, now_ms=NOW).name]
    ways = ("bytes", "gone", "pipe", "link", "manifest", "no manifest")
    for way in ways:
        folder = registry.path_of(names[-1])
        trees, manifest = folder / "reranker" / "ranker.ubj", folder / "version.json"
        if way == "bytes":
            trees.write_bytes(b"x")
        elif way == "manifest":
            manifest.write_bytes(b"{")
        else:
            (manifest if way == "no manifest" else trees).unlink()
        if way == "pipe":
            os.mkfifo(trees)
        if way == "link":
            trees.symlink_to("/dev/zero")
        with pytest.raises(ArtifactError, match=r"copy the version again|expected SHA-256|expected a version"):
            registry.publish(names[-1], now_ms=NOW)
        names.append(registry.add(ARTIFACTS, now_ms=NOW).name)
        assert registry.publish(names[-1], now_ms=NOW).did == "published"
    assert len(set(names)) == 1 + len(ways)
    assert registry.add(ARTIFACTS, now_ms=NOW).name == names[-1]


@pytest.mark.parametrize("path", ["../../x", "/etc/passwd", "reranker/../../x", "", "a//b", "./a", "a\0b"])
def test_a_manifest_that_names_files_outside_of_its_version_is_refused(tmp_path: Path, path: str) -> None:
    registry = Registry(tmp_path / "models")
    version = registry.add(ARTIFACTS, now_ms=NOW)
    files = {**version.files, path: next(iter(version.files.values()))}
    forged = version.model_copy(update={"files": files}).sealed()
    (registry.path_of(version.name) / "version.json").write_text(forged.model_dump_json())
    with pytest.raises(ArtifactError, match="expected paths within the version"):
        registry.verify(version.name)


def test_what_a_killed_process_left_goes_and_its_line_of_history_spoils_no_other(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    name = registry.add(ARTIFACTS, now_ms=NOW).name
    (registry.folder / ".adding-1-00000000" / "reranker").mkdir(parents=True)
    (registry.folder / ".serving-00000000").symlink_to("versions/none")
    (registry.folder / "history.jsonl").write_bytes(b'{"at_ms":1,"na')
    registry.publish(name, now_ms=NOW)
    assert [one.name for one in registry.history()] == [name]
    known = {"versions", "serving", "history.jsonl", "lock"}
    assert {one.name for one in registry.folder.iterdir()} == known


def test_a_full_disk_leaves_no_half_version(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom registry.folder import Registry\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))\n"
        "Registry(Path(sys.argv[1])).add(Path(sys.argv[2]), now_ms=1)\n"
    )
    for bytes_ in (0, 500, 5000):
        command = [sys.executable, "-P", "-c", code, str(registry.folder), str(ARTIFACTS), str(bytes_)]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, env=env, capture_output=True, check=False)
        assert (done.returncode, b"File too large" in done.stderr) == (1, True)
        assert registry.names() == []
        assert {one.name for one in registry.folder.iterdir()} == {"lock"}
    assert registry.add(ARTIFACTS, now_ms=NOW).name in registry.names()


def test_whatever_is_kept_beside_the_versions_bars_no_change_of_them(tmp_path: Path, other: Path) -> None:
    registry = Registry(tmp_path / "models")
    first, second = registry.add(ARTIFACTS, now_ms=NOW), registry.add(other, now_ms=NOW + 1000)
    registry.publish(first.name, now_ms=NOW)
    for outcome in OUTCOMES:
        note_retrained(registry.folder, outcome, at_ms=NOW, took_s=1.0)
    with written_aside(registry.folder / "retrained.json", FileKind("a note", lambda _: True)) as aside:
        aside.touch()  # somebody notes how a retraining went at this very moment, or was killed then
        registry.put_in_shadow(ShadowChoice(name=second.name, share=0.5))
        registry.pin(second.name, now_ms=NOW)
        assert registry.publish(second.name, now_ms=NOW).did == "published"
        registry.pin(None, now_ms=NOW)
        assert registry.rollback(now_ms=NOW).name == first.name
        assert registry.add(ARTIFACTS, now_ms=NOW + 2000) == first
        assert registry.keep_newest(1) == []
        assert aside.exists()


def small(tmp_path: Path) -> Path:
    (tmp_path / "small" / "reranker").mkdir(parents=True)
    (tmp_path / "small" / "reranker" / "x").write_text("x")
    return tmp_path / "small"


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "huge", "words"])
@pytest.mark.parametrize("name", ["shadow.json", "history.jsonl", "retrained.json", "version.json"])
def test_whatever_lies_in_place_of_a_file_is_read_at_once(tmp_path: Path, name: str, kind: str) -> None:
    registry = Registry(tmp_path / "models")
    first = registry.add(small(tmp_path), now_ms=NOW)
    at = (registry.path_of(first.name) if name == "version.json" else registry.folder) / name
    at.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(at)
    elif kind == "folder":
        at.mkdir()
    elif kind == "link":
        at.symlink_to("/dev/zero")
    else:
        at.write_bytes(b"{" * 10)
        os.truncate(at, 10 if kind == "words" else 1 << 32)
    assert (registry.shadow(), registry.history(), read_retrained(registry.folder)) == (None, [], {})
    if name == "version.json":
        with pytest.raises(ArtifactError, match="copy the version again"):
            registry.read(first.name)


def test_artifacts_without_a_model_make_no_folder_of_models(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="found neither: train models first"):
        Registry(tmp_path / "models").add(tmp_path, now_ms=NOW)
    assert list(tmp_path.iterdir()) == []
