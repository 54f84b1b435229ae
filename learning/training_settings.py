"""Settings of the re-ranker's training, its replay of a log among them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.settings import Group as Settings
from contracts.settings import SessionSettings, TrendOptions
from rerank.query import PipelineSettings

Part = Literal["device", "region", "hour", "weekday", "season"]


class RerankTrainingSettings(Settings):
    """How to train the re-ranker."""

    groups: int = Field(default=100_000, ge=1, description="Next clicks to learn from, about.")
    warm_up: float = Field(default=0.5, ge=0, lt=1, description="First share of the log: counted, not learnt from.")
    check_share: float = Field(default=0.15, gt=0, lt=1, description="Latest share of the rest, kept aside.")
    negatives: int = Field(default=30, ge=1, description="Candidates learnt from beside the clicked one, at most.")
    new_weight: float = Field(
        default=5.0, gt=0, description="Weight of a click on an item that is less than an hour old; others weigh 1."
    )
    trees: int = Field(default=150, ge=1, description="Trees, at most.")
    depth: int = Field(default=6, ge=1, le=16, description="Depth of each.")
    learning_rate: float = Field(default=0.1, gt=0, le=1, description="Weight of each tree.")
    min_child_weight: float = Field(default=0.1, ge=0, description="Least weight of a leaf.")
    l2: float = Field(default=10.0, ge=0, description="Penalty on the squares of what leaves add.")
    top: int = Field(
        default=20, ge=1, description="Places of an answer, as the trees have it, whose items are compared with all."
    )
    patience: int = Field(default=150, ge=1, description="Stop after this many trees without a better NDCG@20.")
    refresh_events: int = Field(default=500, ge=1, description="Events between two updates of the columns.")
    session: SessionSettings = SessionSettings()
    trend: TrendOptions = TrendOptions()
    pipeline: PipelineSettings = PipelineSettings()
    context: tuple[Part, ...] = Field(
        default=(),
        description="Parts of the context to learn as features where the recording has them: device, region, hour, "
        "weekday, season. Not for recordings that are replayed at another speed.",
    )
    folds: int = Field(
        default=1,
        ge=1,
        le=5,
        description="Latest tenths of the sessions that `evaluate next-item` learns from; nothing else reads it.",
    )
    repeats: bool = Field(default=False, description="Ask for clicks on the item clicked just before too.")
    threads: int = Field(default=1, ge=1, description="Threads of XGBoost.")
