"""Evaluations read the models that serve, byte for byte as they were, and train into folders of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from contracts.errors import OutputRefused
from eventlog.files import write_events
from learning.work_folder import made_by_evaluation, models_of
from nextclick.cli import build_app
from nextclick.stack.shop_models import ARTIFACTS
from tests.nextclick.test_evaluate import lines
from tests.nextclick.trees import tree_of
from tests.rerank.traffic import traffic

SMALL = ("--dim", "8", "--limit-cases", "50")


def typed(*words: str | Path) -> str:
    done = CliRunner().invoke(build_app(), list(map(str, words)), env={"COLUMNS": "300"})
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


def complaint(*words: str | Path) -> str:
    done = CliRunner().invoke(build_app(), list(map(str, words)))
    assert isinstance(done.exception, OutputRefused), repr(done.exception)
    return str(done.exception)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[str | Path, ...]:
    pytest.importorskip("torch", reason="needs the train extra")
    folder = tmp_path_factory.mktemp("recorded")
    train, test = lines(folder / "train.txt", 500), lines(folder / "test.txt", 20, seed=8)
    return ("evaluate", "next-item", "--train", train, "--test", test, *SMALL)


@pytest.fixture(scope="module")
def kept(recorded: tuple[str | Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a first evaluation kept in a new folder."""
    folder = tmp_path_factory.mktemp("kept") / "first"
    typed(*recorded, "--artifacts", folder, "--out", folder.parent / "first.json")
    return folder


@pytest.fixture
def serving(kept: Path, tmp_path: Path) -> Path:
    """Both models as training puts them, beside a file of the shop's own."""
    for name in ("session_model", "reranker"):
        shutil.copytree(kept / name, tmp_path / "m1" / name)
    (tmp_path / "m1" / "README.md").write_text("since Monday")
    return tmp_path / "m1"


@pytest.mark.torch
def test_models_that_serve_are_used_and_keep_every_byte(
    recorded: tuple[str | Path, ...], kept: Path, serving: Path, tmp_path: Path
) -> None:
    before, out = tree_of(serving), tmp_path / "found.json"
    shown = typed(*recorded, "--artifacts", serving, "--seed", "7", "--out", out)
    assert tree_of(serving) == before
    assert (
        f"{serving} is only read; what is trained beside it is not kept: name a folder by --work to keep it." in shown
    )
    assert f"The session model in {serving} was not trained here: it may have learnt from what it is asked." in shown
    first, found = (orjson.loads(path.read_bytes()) for path in (kept.parent / "first.json", out))
    figures = [one["rows"][0]["all"]["mrr"]["value"] for one in (first, found)]
    assert figures[0] == figures[1]  # of the session model that seed 1 made: none was trained in its place


@pytest.mark.torch
def test_what_is_trained_beside_them_is_kept_in_a_work_folder_and_used_again(
    recorded: tuple[str | Path, ...], serving: Path, tmp_path: Path
) -> None:
    before, work = tree_of(serving), tmp_path / "work"
    typed(*recorded, "--artifacts", serving, "--work", work)
    assert sorted(path.name for path in work.iterdir()) == ["earlier", "evaluation.json", "reranker"]
    assert orjson.loads((work / "evaluation.json").read_bytes()) == {
        "format": "nextclick-evaluation",
        "format_version": 1,
    }
    kept_model = tree_of(work / "earlier")
    inode = (work / "earlier" / "session_model").stat().st_ino
    typed(*recorded, "--artifacts", serving, "--work", work)
    assert (work / "earlier" / "session_model").stat().st_ino == inode
    assert (tree_of(work / "earlier"), tree_of(serving)) == (kept_model, before)


@pytest.mark.torch
def test_a_folder_that_an_evaluation_made_goes_on_taking_what_is_trained(
    recorded: tuple[str | Path, ...], kept: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(kept, tmp_path / "kept")
    model = (folder / "session_model").stat().st_ino
    trees = tree_of(folder / "reranker")
    typed(*recorded, "--artifacts", folder, "--without", "nearest")
    assert (folder / "session_model").stat().st_ino == model
    assert tree_of(folder / "reranker") != trees
    (folder / "evaluation.json").unlink()  # as releases before left it
    assert made_by_evaluation(folder)
    typed(*recorded, "--artifacts", folder)
    assert tree_of(folder / "reranker") == trees
    assert (folder / "evaluation.json").exists()


@pytest.mark.torch
def test_a_stream_reads_models_that_serve_only(serving: Path, tmp_path: Path) -> None:
    write_events(tmp_path / "log.jsonl.zst", traffic(600))
    before = tree_of(serving)
    hours = ("--from-hour", "7", "--to-hour", "8", "--retrain-hours", "0", "--dim", "8")
    shown = typed("evaluate", "stream", tmp_path / "log.jsonl.zst", *hours, "--artifacts", serving)
    assert f"No session model in {serving} is one that this evaluation asks for: all were trained here." in shown
    assert tree_of(serving) == before


@pytest.mark.torch
@pytest.mark.parametrize("command", ["session-model", "models", "reranker"])
def test_training_leaves_a_folder_alone_that_evaluations_work_in(command: str, kept: Path, tmp_path: Path) -> None:
    write_events(tmp_path / "log.jsonl.zst", traffic(60))
    before = tree_of(kept)
    option = "--artifacts" if command == "reranker" else "--out"
    said = complaint("train", command, tmp_path / "log.jsonl.zst", option, kept)
    assert "expected a folder of models that serve, found one that `nextclick evaluate` works in" in said
    assert tree_of(kept) == before


def test_models_that_serve_are_no_work_folder_and_hold_none(tmp_path: Path) -> None:
    serving = shutil.copytree(ARTIFACTS, tmp_path / "serving")
    before = tree_of(tmp_path)
    for artifacts, work in (
        (None, serving),
        (serving, serving),
        (serving, serving / "work"),
        (serving, serving / "a/b"),
    ):
        with pytest.raises(OutputRefused), models_of(artifacts, work, tell=print):
            pass
    with (
        pytest.raises(OutputRefused, match="expected a folder of models, found nothing"),
        models_of(tmp_path / "x", tmp_path / "work", tell=print),
    ):
        pass
    (tmp_path / "link").symlink_to(serving)
    with models_of(tmp_path / "link", None, tell=print) as models:
        assert (models.given, models.work.parent == tmp_path) == (tmp_path / "link", False)
        assert models.place("earlier") == models.work / "." / "earlier"
        assert (models.work / "evaluation.json").exists()
    assert not models.work.exists()
    (tmp_path / "link").unlink()
    assert tree_of(tmp_path) == before


def test_a_session_model_trained_by_an_earlier_release_inside_artifacts_that_serve_makes_them_no_work_folder(
    tmp_path: Path,
) -> None:
    serving = shutil.copytree(ARTIFACTS, tmp_path / "serving")
    shutil.copytree(ARTIFACTS / "session_model", serving / "earlier" / "session_model")
    (serving / "earlier" / "session-model-from").write_text("0123")
    assert not made_by_evaluation(serving)
    shutil.rmtree(serving / "session_model")  # as a stream's evaluation leaves it
    assert made_by_evaluation(serving)
