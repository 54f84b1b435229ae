"""Settings of the models for visitors with a history."""

from __future__ import annotations

from typing import Literal

from pydantic import Field as Setting

from contracts.settings import Group

ModelName = Literal["own", "profile", "tower", "dense-tower", "als", "neumf", "autoencoder", "wide-deep"]
EVERY: tuple[ModelName, ...] = ("own", "profile", "tower", "dense-tower", "als", "neumf", "autoencoder", "wide-deep")


class UserSettings(Group):
    """What is known of a visitor, and how models learn from it."""

    half_life_days: float = Setting(default=7.0, gt=0, description="Half-life of an earlier visit's weight.")
    last_visits: int = Setting(default=50, ge=1, description="Earlier visits that count, the latest.")
    last_clicks: int = Setting(
        default=20, ge=1, description="Clicks of a visit that its vector is made of, the latest."
    )
    profile_share: float = Setting(default=0.3, ge=0, le=1, description="The profile's share in the blended vector.")
    hidden: tuple[int, ...] = Setting(default=(256,), description="Hidden layers of the user tower.")
    dense: tuple[int, ...] = Setting(default=(1024, 512, 128), description="Those of the dense user tower.")
    factors: int = Setting(default=64, ge=1, le=1024, description="Factors of ALS.")
    regularization: float = Setting(default=0.05, gt=0, description="Penalty on the factors of ALS.")
    confidence: float = Setting(default=10.0, gt=0, description="What a click adds to the confidence of ALS.")
    iterations: int = Setting(default=15, ge=1, description="Iterations of ALS.")
    embedding: int = Setting(default=32, ge=1, le=1024, description="Dimensions of a small network's embeddings.")
    bottleneck: int = Setting(default=200, ge=1, le=4096, description="Hidden numbers of the autoencoder.")
    dropout: float = Setting(default=0.3, ge=0, lt=1, description="Share of what a network reads that is left out.")
    negatives: int = Setting(default=100, ge=1, description="Items drawn beside each clicked one.")
    learning_rate: float = Setting(default=1e-3, gt=0, description="Adam's.")
    weight_decay: float = Setting(default=1e-5, ge=0, description="Adam's.")
    scale: float = Setting(default=14.0, gt=0, description="What cosines are multiplied by before the softmax.")
    train_epochs: int = Setting(default=5, ge=1, description="Passes over the moments.")
    batch: int = Setting(default=256, ge=2, description="Moments in a batch.")
    moments: int = Setting(default=30_000, ge=1, description="Moments learnt from, at most.")
    threads: int = Setting(default=1, ge=1, description="Threads of torch and ALS.")
