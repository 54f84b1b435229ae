"""A candidate re-ranker in the shadow: asked for a share of the answers after they are given, compared, never shown.

It ranks while nothing else waits, and what it has no time for is left out: nobody's answer waits for it longer than
for one more request.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from contracts.errors import ArtifactError, StateUnavailable
from contracts.outage import Outage
from contracts.shadow_means import means
from gateway.metrics import Metrics
from gateway.models import Models
from gateway.shadow_figures import Sums, compared
from registry.folder import SERVING, Registry
from registry.shadow import ShadowChoice
from rerank.pipeline import Pipeline, Query, Ranked
from rerank.ranker import Ranker
from state.shadow_sums import ShadowSums

log = logging.getLogger("nextclick.gateway")

MOST_WAITING: Final = 16
AFTER_S: Final = 0.01
"""Answers go out before their comparison begins."""
TELL_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked (made when its turn comes), of which models, and what was answered."""

    query: Callable[[], Query]
    answered: Ranked
    models: Models


@dataclass(frozen=True, slots=True)
class Candidate:
    choice: ShadowChoice
    models: Models
    """Those that serve, with the candidate's re-ranker."""
    beside: Models
    pipeline: Pipeline


class Shadow:
    """For one event loop. `offer` costs an answer nothing while there is no candidate."""

    def __init__(
        self,
        artifacts: str,
        *,
        serving: Callable[[], Models],
        pipeline: Callable[[Models], Pipeline],
        turn: asyncio.Lock,
        sums: ShadowSums,
        every_s: float,
        random: Random | None = None,
    ) -> None:
        """`pipeline` makes what ranks with models; `turn` is held while it does."""
        folder = Path(artifacts)
        self._registry = Registry(folder.parent) if artifacts and folder.name == SERVING else None
        self._serving, self._make, self._turn = serving, pipeline, turn
        self._store, self._every_s, self._random = sums, every_s, random or Random()
        self._waiting: deque[Asked] = deque()
        self._wanted = asyncio.Event()
        self._refused: tuple[ShadowChoice, str] | None = None
        self._outage = Outage(log, "what the shadow found is not kept: ")
        self.busy: Callable[[], bool] = lambda: False
        self.candidate: Candidate | None = None
        self.untold = Sums()
        self.sums = Sums()
        self.dropped = 0
        self.failed = 0

    def offer(self, query: Callable[[], Query], answered: Ranked, models: Models) -> None:
        """Take an answer that is about to be given, if its turn has come."""
        candidate = self.candidate
        if candidate is None or candidate.beside is not models or self._random.random() >= candidate.choice.share:
            return
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
            return
        self._waiting.append(Asked(query, answered, models))
        self._wanted.set()

    async def run(self) -> None:
        """Compare what was offered, for ever."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(AFTER_S)
            if not self._waiting:
                self._wanted.clear()
                continue
            await self.compare(self._waiting.popleft())

    async def compare(self, asked: Asked) -> None:
        """Have the candidate answer, and count how it differs; not while others wait."""
        candidate = self.candidate
        if candidate is None or self.busy():
            self.dropped += 1
            return
        async with self._turn:
            if candidate.beside is not self._serving() or asked.models is not candidate.beside:
                self.dropped += 1  # the models that serve changed meanwhile
                return
            try:
                [ranked] = await asyncio.to_thread(lambda: candidate.pipeline.recommend([asked.query()]))
            except Exception as error:
                self.failed += 1
                if self.failed == 1:
                    log.error("the shadow %s cannot answer: %r", candidate.choice.name, error)
                return
        found = compared(asked.answered.items, ranked.items)
        self.sums.add(found)
        self.untold.add(found)

    async def follow(self) -> None:
        """Look for a candidate, and tell what was found, for ever."""
        if self._registry is None:
            return
        rounds = max(1, round(TELL_S / self._every_s))
        while True:
            for _ in range(rounds):
                await self.look()
                await asyncio.sleep(self._every_s)
            await self.tell()

    async def look(self) -> None:
        """Take up the candidate that is chosen now, or let go of the one before."""
        if self._registry is None:
            return
        choice, models, before = await asyncio.to_thread(self._registry.shadow), self._serving(), self.candidate
        if before is not None and before.choice == choice and before.beside is models:
            return
        if choice is None or (self._refused == (choice, models.version)):
            self.candidate = None
            return
        await self.tell()
        try:
            self.candidate = await asyncio.to_thread(self._loaded, choice, models)
        except ArtifactError as error:
            self.candidate, self._refused = None, (choice, models.version)
            log.error("no shadow: %s", error)
            return
        self._refused = None
        if before is None or before.choice.name != choice.name:
            self.sums = Sums()
        log.info("%s is asked for %.1f%% of the answers, for nobody to see", choice.name, 100 * choice.share)

    async def tell(self) -> None:
        """Add what was found to what all processes found."""
        candidate, sums = self.candidate, self.untold
        if candidate is None or not sums.by_name["answers"]:
            return
        self.untold = Sums()
        try:
            await asyncio.to_thread(self._store.add, candidate.choice.name, sums.by_name)
            self._outage.over()
        except StateUnavailable as error:
            self._outage.failed(error)
            for name, value in sums.by_name.items():
                self.untold.by_name[name] += value

    def _loaded(self, choice: ShadowChoice, models: Models) -> Candidate:
        assert self._registry is not None
        folder = self._registry.path_of(choice.name)
        ranker = Ranker.load(folder / "reranker")
        wanted = 0 if models.encoder is None else models.encoder.version
        said = self._registry.read(choice.name).session_model
        if said not in (None, f"{wanted:016x}"):
            raise ArtifactError(
                f"{choice.name} has session model {said}, {wanted:016x} serves: only a re-ranker of the session model "
                "that serves can be asked beside it"
            )
        with_it = Models(models.encoder, ranker, models.image_length, choice.name)
        return Candidate(choice, with_it, models, self._make(with_it))


def watch_shadow(shadow: Shadow, metrics: Metrics) -> None:
    """Show how the candidate differs, as this process saw it."""

    def mean(name: str) -> Callable[[], float]:
        def value() -> float:
            found = means(shadow.sums.by_name)[name]
            return float("nan") if found is None else found

        return value

    metrics.total("shadow_dropped", "Answers that the shadow had no time for.", {}, lambda: shadow.dropped)
    metrics.total("shadow_failed", "Answers that the shadow could not give.", {}, lambda: shadow.failed)
    about = "Answers of the candidate in the shadow that were compared."
    metrics.gauge("shadow_answers", about, {}, lambda: shadow.sums.by_name["answers"])
    about = "Of the first ten items, how many both have."
    metrics.gauge("shadow_overlap", about, {}, mean("overlap_at_10"))
    metrics.gauge("shadow_rank_correlation", "Spearman's, of items on both pages.", {}, mean("rank_correlation"))
    metrics.gauge("shadow_score_difference", "Mean of the absolute differences.", {}, mean("score_difference"))
