"""Where an evaluation finds session models, and where it keeps what it trains. Models that serve are only read.

A folder that an evaluation made says so (`evaluation.json`), and holds

    session_model/, reranker/            of the whole training part
    earlier/, earlier-2/, hour-48/       session models of parts of it
    seed-1/, seed-2/                     all that once more for every seed of --seeds
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from contracts.errors import OutputRefused
from contracts.outputs import found_at, json_kind, read_document, write_output

MARK = "evaluation.json"
MADE_FROM = "session-model-from"
"""File beside a session model that an evaluation trained: what names its training."""
_FORMAT = "nextclick-evaluation"
_MODEL = Path("session_model", "manifest.json")
_MARKED = json_kind("the mark of an evaluation's folder", "format")


@dataclass(frozen=True, slots=True)
class Models:
    """`given` is only read, None when there is nothing but `work`, which takes what is trained. `part` is the folder in
    both that this run is about. `used` takes what was read from `given`.
    """

    given: Path | None
    work: Path
    part: str = "."
    used: list[Path] = field(default_factory=list)

    def of_seed(self, seed: int) -> Models:
        """Return the same two folders for one seed of several."""
        return replace(self, part=f"seed-{seed}")

    def find(self, name: str = ".") -> Path | None:
        """Return the folder that holds a session model of this name, None where it is yet to be trained."""
        for base in (self.given, self.work):
            folder = base / self.part / name if base is not None else None
            if folder is not None and (folder / _MODEL).exists():
                if base != self.work:
                    self.used.append(folder)
                return folder
        return None

    @property
    def ranker(self) -> Path:
        """The re-ranker's folder."""
        return self.work / self.part / "reranker"

    def place(self, name: str = ".") -> Path:
        """Return the folder to train one into, in a work folder that is marked as one."""
        if not (self.work / MARK).exists():
            content = orjson.dumps({"format": _FORMAT, "format_version": 1}, option=orjson.OPT_APPEND_NEWLINE)
            write_output(self.work / MARK, content, _MARKED)
        return self.work / self.part / name


@contextmanager
def models_of(artifacts: Path | None, work: Path | None, *, tell: Callable[[str], None]) -> Iterator[Models]:
    """Give the folders that --artifacts and --work name. A new folder of --artifacts, or one that an evaluation made,
    is its work folder too; what is trained beside models that serve goes into --work, or is gone in the end. `tell`
    takes what a person has to know of that.

    Raises OutputRefused for a work folder that is not an evaluation's, and for artifacts without models.
    """
    if artifacts is not None and work is None and is_work_folder(artifacts):
        artifacts, work = None, artifacts
    if artifacts is not None and not (artifacts / _MODEL).exists() and not made_by_evaluation(artifacts):
        found = found_at(artifacts)
        raise OutputRefused(f"{artifacts}: expected a folder of models, found {found}: name another --artifacts")
    if work is not None:
        _expect_work_folder(work, artifacts)
        with _used_or_told(Models(artifacts, work), tell) as models:
            yield models
        return
    with TemporaryDirectory(prefix="nextclick-evaluate-") as temporary:
        if artifacts is not None:
            tell(
                f"{artifacts} is only read; what is trained beside it is not kept: name a folder by --work to keep it."
            )
        with _used_or_told(Models(artifacts, Path(temporary)), tell) as models:
            yield models


def is_work_folder(folder: Path) -> bool:
    """Tell whether an evaluation may train into a folder: it is new, empty, or made by an evaluation."""
    return not folder.exists() or (folder.is_dir() and (not any(folder.iterdir()) or made_by_evaluation(folder)))


def made_by_evaluation(folder: Path) -> bool:
    """Tell by the mark; by what earlier releases left, where there is none."""
    document = read_document(folder / MARK)
    if document is not None and document.get("format") == _FORMAT:
        return True
    if (folder / "session_model").exists():
        return (folder / MADE_FROM).exists()
    return folder.is_dir() and any((one / MADE_FROM).exists() for one in folder.iterdir())


def _expect_work_folder(work: Path, artifacts: Path | None) -> None:
    if not is_work_folder(work):
        raise OutputRefused(
            f"{work}: expected a new folder, or one that an evaluation made, found {found_at(work)}: it was left as it "
            "is; name another --work"
        )
    if artifacts is not None and artifacts.resolve() in work.resolve().parents:
        raise OutputRefused(
            f"{work}: expected a folder outside of {artifacts}, which is only read: name another --work"
        )


@contextmanager
def _used_or_told(models: Models, tell: Callable[[str], None]) -> Iterator[Models]:
    """Say at the end when nothing of the given models was of use."""
    yield models
    if models.given is not None and not models.used:
        tell(f"No session model in {models.given} is one that this evaluation asks for: all were trained here.")
