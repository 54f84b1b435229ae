"""What training can be told, and what it tells while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import Field as Setting

from contracts.settings import Group, SessionSettings


class TrainingSettings(Group):
    """How to train. The defaults hold for shops and news alike; see docs/model.md for what was measured."""

    dim: int = Setting(default=128, ge=2, le=1024, description="Dimensions of items and sessions.")
    train_epochs: int = Setting(default=8, ge=1, description="Passes over the sessions, at most.")
    patience: int = Setting(default=2, ge=1, description="Stop after this many train epochs without a better MRR.")
    batch_sessions: int = Setting(default=256, ge=2, description="Sessions in a batch.")
    negatives: int = Setting(default=1024, ge=1, description="Items drawn for each batch, beside its own.")
    negative_power: float = Setting(default=0.5, ge=0, le=1, description="They are drawn by clicks to this power.")
    passed_over: int = Setting(
        default=0, ge=0, description="Items shown above a click on its page that are its negatives too, at most."
    )
    learning_rate: float = Setting(default=6e-3, gt=0, description="Adam's, at the start; falls by a cosine to 0.")
    scale: float = Setting(default=14.0, gt=0, description="What cosines are multiplied by before the softmax.")
    input_dropout: float = Setting(default=0.5, ge=0, lt=1, description="Share of clicked vectors' entries dropped.")
    memory: int = Setting(
        default=0, ge=0, le=1024, description="Numbers in a session's memory, beside the mean of its items; 0: none."
    )
    memory_dropout: float = Setting(default=0.2, ge=0, lt=1, description="Share of a memory's numbers dropped.")
    id_dropout: float = Setting(default=0.3, ge=0, lt=1, description="Share of items embedded by content alone.")
    neighbours: int = Setting(default=12, ge=0, description="Items clicked near an item that it learns with; 0: none.")
    neighbour_dropout: float = Setting(default=0.5, ge=0, lt=1, description="Share of them left out of a batch.")
    recency_half_life: float = Setting(
        default=0.5, gt=0, description="A session is drawn half as often when this share of all sessions is newer."
    )
    settle_rate: float = Setting(default=0.3, gt=0, le=1, description="Learning rate of the last pass, as a share.")
    settle_half_life: float = Setting(default=0.05, gt=0, description="As recency_half_life, in the last pass.")
    check_share: float = Setting(default=0.05, gt=0, lt=0.5, description="Latest sessions kept aside to check on.")
    check_sessions: int = Setting(default=2000, ge=1, description="How many of them are looked at, at most.")
    min_token_items: int = Setting(default=2, ge=1, description="Clicked items a content token has to occur in.")
    max_tokens: int = Setting(default=50_000, ge=0, description="Content tokens kept, the most frequent first.")
    text: str = Setting(
        default="", description="Text model of titles and descriptions: `minilm`, or a folder; empty: their words only."
    )
    session: SessionSettings = SessionSettings()
    threads: int = Setting(default=1, ge=1, description="Threads of torch. Results are the same only for the same.")


@dataclass(frozen=True, slots=True)
class Step:
    """How far training is. `stage` is `read`, `train`, `check` or `settle`; `total` is 0 where it is not known.

    `loss` is the mean of the train epoch so far, `mrr` the best check so far, both None before there is one.
    """

    stage: str
    done: int
    total: int
    train_epoch: int = 0
    loss: float | None = None
    mrr: float | None = None


Progress = Callable[[Step], None]
