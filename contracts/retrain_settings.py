"""Settings of training again and again, which the stack that starts it reads too."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from contracts.backends import Group

SHORTEST = timedelta(seconds=10)


class RetrainOptions(Group):
    every: timedelta = Field(
        default=timedelta(0),
        ge=timedelta(0),
        description="How often the stack trains new models, such as P1D; PT0S: never. Shorter than 10 s is 10 s.",
    )
    recordings: str = Field(
        default="",
        description="Folder of recordings to learn from, as `record.to` fills it; empty: the event log, as far as it "
        "is kept.",
    )
    window: timedelta = Field(
        default=timedelta(days=30), gt=timedelta(0), description="The newest events that it learns from."
    )
    least_events: int = Field(
        default=2000, ge=1, description="With fewer events nothing is trained; it waits for the next time."
    )
    newest: float = Field(
        default=0.1, ge=0.01, le=0.5, description="Newest share of the events: judged on, never trained on."
    )
    metric: str = Field(default="mrr", min_length=1, description="What must not get worse; several by commas.")
    may_lose: float = Field(default=0.02, ge=0, le=0.5, description="Share of each metric that a candidate may lose.")
    settings: str = Field(default="", description="TOML file of training settings; empty: the defaults.")
    mlflow: str = Field(default="", description="MLflow to tell trainings to: an address, or file:FOLDER; empty: none.")
    keep: int = Field(
        default=30,
        ge=3,
        description="Versions that are kept; older ones go, but not those that serve, served before, are in the "
        "shadow, or are pinned.",
    )

    @property
    def every_ms(self) -> int:
        """Return the period in ms; 0: never."""
        return int(1000 * max(self.every, SHORTEST).total_seconds()) if self.every else 0
