"""A folder of snapshots loses what was made there alone, and is no folder to build in when it holds anything else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from contracts.errors import OutputRefused
from contracts.keys import CATALOGUE
from contracts.settings import RedisSettings, ServiceSettings
from nextclick.cli import build_app
from nextclick.stack.shop_models import ARTIFACTS
from retrieval import snapshot, snapshot_folder
from retrieval.build import build
from state.tables import TableReader
from tests.nextclick.trees import tree_of
from tests.retrieval.tables import Shop, service, tower

TOWER = tower()


@pytest.fixture
def settings(redis_settings: RedisSettings, tmp_path: Path) -> ServiceSettings:
    return service(redis_settings, tmp_path / "index")


@pytest.fixture
def folder(settings: ServiceSettings) -> Path:
    return Path(settings.index.folder)


@pytest.fixture
def built(settings: ServiceSettings, redis_settings: RedisSettings) -> Iterator[Callable[[], str]]:
    """Builds a snapshot of one item more than before; returns its name."""
    shop, reader = Shop(redis_settings, TOWER), TableReader(redis_settings, CATALOGUE)
    numbers = iter(range(1000))

    def make() -> str:
        shop.put([f"i{next(numbers)}", "i999"])
        return build(settings, reader, TOWER).name

    yield make
    reader.close()
    shop.writer.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def photos(folder: Path) -> None:
    (folder / "photos" / "2020").mkdir(parents=True)
    (folder / "photos" / "2020" / "beach.jpg").write_bytes(b"\xff\xd8 holiday")


def repository(folder: Path) -> None:
    (folder / ".git" / "objects").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")


def stack(folder: Path) -> None:
    (folder / "stack" / "redis").mkdir(parents=True)
    (folder / "stack" / "redis" / "appendonly.aof").write_text("*2\r\n")


def link(folder: Path) -> None:
    photos(folder.parent / "elsewhere")
    (folder / "000000000001-00000000-00000000").symlink_to(folder.parent / "elsewhere" / "photos")


def models(folder: Path) -> None:
    shutil.copytree(ARTIFACTS / "session_model", folder / "session_model")


def ranker(folder: Path) -> None:
    shutil.copytree(ARTIFACTS / "reranker", folder / "000000000002-00000000-00000000")


def alike(folder: Path) -> None:
    forms = (".building-photos", ".building-12-0123abcd", ".building-1-0123abcde", "000000000600-00000007-1a2b3c4d")
    for name in forms:
        (folder / name).mkdir()
        (folder / name / "beach.jpg").write_bytes(b"\xff\xd8")


def files(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / ".current.json.backup").write_text('{"current": "mine"}')
    (folder / ".current.json.0123abcd").write_text("mine too")


def lock(folder: Path) -> None:
    (folder / "lock").write_text("resolved = 1\n")


def pointer(folder: Path) -> None:
    (folder / "current.json").write_text('{"current": "x", "theme": "dark"}')


FOREIGN = [photos, repository, stack, link, models, ranker, alike, files, lock, pointer]


@pytest.mark.parametrize("put", FOREIGN)
def test_index_build_refuses_a_folder_with_anything_else_and_touches_nothing(
    put: Callable[[Path], None], tmp_path: Path, redis_settings: RedisSettings
) -> None:
    folder = tmp_path / "shelf"
    folder.mkdir()
    put(folder)
    before = tree_of(tmp_path)
    typed = ["index", "build", "--folder", str(folder), "--artifacts", str(ARTIFACTS), "--redis", redis_settings.url]
    outcome = CliRunner().invoke(build_app(), typed)
    assert outcome.exit_code == 1
    assert isinstance(outcome.exception, OutputRefused)
    said = str(outcome.exception)
    assert "expected a folder of snapshots alone, found " in said
    assert f"name a folder of its own, such as {folder / 'index'}" in said
    assert "\n" not in said
    assert tree_of(tmp_path) == before


@pytest.mark.parametrize("put", [photos, repository, stack, link, models, alike, files])
def test_what_lies_beside_snapshots_stays_and_no_more_is_built(
    put: Callable[[Path], None], folder: Path, built: Callable[[], str]
) -> None:
    built()
    put(folder)
    before = tree_of(folder.parent)
    with pytest.raises(OutputRefused, match="nothing was touched"):
        built()
    snapshot_folder.clean(folder)  # as one that looked before somebody else came
    assert tree_of(folder.parent) == before


def test_a_folder_that_is_missing_or_empty_or_behind_a_link_is_built_in(
    folder: Path, built: Callable[[], str], tmp_path: Path
) -> None:
    first = built()
    assert names(folder) == [first, "current.json", "lock"]
    shutil.rmtree(folder)
    folder.mkdir()
    second = built()
    folder.rename(tmp_path / "other-disk")
    folder.symlink_to(tmp_path / "other-disk")
    third = built()
    assert names(folder) == sorted([second, third, "current.json", "lock"])
    assert folder.is_symlink()


@pytest.mark.parametrize("kind", ["file", "dangling link", "link to a file"])
def test_what_is_no_folder_is_refused(kind: str, folder: Path, built: Callable[[], str], tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    leads_to = tmp_path / ("kept" if kind == "link to a file" else "nowhere")
    folder.write_text("mine") if kind == "file" else folder.symlink_to(leads_to)
    with pytest.raises(OutputRefused, match="expected a folder of snapshots, found"):
        built()
    assert (tmp_path / "kept").read_text() == "mine"
    assert folder.is_symlink() == (kind != "file")


def test_a_snapshot_of_another_release_goes_by_its_manifest(folder: Path, built: Callable[[], str]) -> None:
    names_ = [built(), built()]
    older = folder / names_[0]
    manifest = orjson.loads((older / "manifest.json").read_bytes())
    files = {**manifest["files"], "column_of_then.npy": {"bytes": 1, "sha256": "0"}, "../current.json": {}, "..": {}}
    changed = {key: value for key, value in manifest.items() if key != "fingerprint"}
    (older / "manifest.json").write_bytes(orjson.dumps({**changed, "format": 0, "files": files}))
    (older / "column_of_then.npy").write_text("x")
    third = built()
    assert names(folder) == sorted([names_[1], third, "current.json", "lock"])


def test_a_snapshot_keeps_what_somebody_put_into_it_and_a_copy_stays(folder: Path, built: Callable[[], str]) -> None:
    first = built()
    shutil.copytree(folder / first, folder / "before-the-sale")
    copied = tree_of(folder / "before-the-sale")
    (folder / first / "why.txt").write_text("the one before the sale")
    (folder / first / "words.json").unlink()
    (folder / first / "words.json").symlink_to(folder / "before-the-sale" / "words.json")
    built()
    built()
    assert names(folder / first) == ["manifest.json", "why.txt"]
    assert tree_of(folder / "before-the-sale") == copied
    assert len(names(folder)) == 6


def test_whatever_was_left_half_done_goes(folder: Path, built: Callable[[], str]) -> None:
    first = built()
    for number, kept in enumerate((["building", "half.npy"], ["vectors.npy", "graph.usearch"], ["manifest.json"], [])):
        aside = folder / f".building-{number + 1}-0123abcd"
        aside.mkdir()
        for name in kept:
            (aside / name).write_bytes((folder / first / name).read_bytes() if name == "vectors.npy" else b"{}")
    for number, kept in enumerate((["manifest.json"], ["vectors.npy"], [])):  # killed while it was removed
        removed = folder / f"00000000000{number}-00000007-0123abcd"
        removed.mkdir()
        for name in kept:
            (removed / name).write_bytes(b"{}")
    (folder / ".current.json.0123abcd").write_text('{"curr')
    (folder / "build-wanted").write_text("somebody asks")
    second = built()
    assert names(folder) == sorted([first, second, "current.json", "lock", "build-wanted"])


def test_a_pointer_that_cannot_be_read_lets_snapshots_stay_until_a_new_one_serves(
    folder: Path, built: Callable[[], str]
) -> None:
    first = built()
    (folder / "current.json").write_text('{"curre')
    with snapshot.building(folder):
        assert first in names(folder)
    second = built()
    assert snapshot.read_pointer(folder).current == second
    assert names(folder) == [second, "current.json", "lock"]


def test_every_file_of_a_snapshot_is_known_as_one(folder: Path, built: Callable[[], str]) -> None:
    assert set(os.listdir(folder / built())) <= snapshot_folder.PARTS
