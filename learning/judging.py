"""Two folders of models asked the same questions of a recording: what a candidate would change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.api import Placement
from contracts.items import Item
from evaluation.paired import Difference
from learning.model_folders import RERANKER
from learning.scenario_figures import Judged, compared
from learning.scenario_pages import Asking, ask
from learning.stages import Stages
from learning.training import load_towers
from learning.training_settings import RerankTrainingSettings
from rerank.ranker import Ranker
from rerank.scenarios.compiled import plain


@dataclass(frozen=True, slots=True)
class Trial:
    """What models are judged on. The first `warm_up` share of the events is only learnt from; `limit` items a page."""

    events: Path
    items: Mapping[str, Item]
    settings: RerankTrainingSettings
    questions: int
    limit: int
    warm_up: float
    seed: int


def changes(trial: Trial, serving: Path, candidate: Path, stages: Stages) -> tuple[dict[str, Difference], int]:
    """Return what the candidate changes in every figure of a homepage, paired by page, and how many pages were asked.

    Raises SettingsError where nothing can be asked, ArtifactError for models that cannot be loaded.
    """
    asked = [Judged(ask(_asking(trial, folder), stages), 0, trial.limit) for folder in (serving, candidate)]
    return compared(asked[0], asked[1], seed=trial.seed), len(asked[0].asked.target)


def _asking(trial: Trial, artifacts: Path) -> Asking:
    ranker = artifacts / RERANKER
    return Asking(
        events=trial.events,
        items=trial.items,
        scenarios=[plain(Placement.HOMEPAGE)],
        towers=load_towers(artifacts),
        ranker=Ranker.load(ranker) if ranker.exists() else None,
        settings=trial.settings,
        questions=trial.questions,
        limit=trial.limit,
        warm_up=trial.warm_up,
        seed=trial.seed,
    )
