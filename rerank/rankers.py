"""Re-rankers by name, beside the one that ranks where nothing else is said: what a scenario may name.

Each is a folder of its own, `rerankers/NAME` of the artifacts folder. What a name stands for does not change: a new
re-ranker gets a new name, so that a process need not look at the disk again for one that it has loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from contracts.errors import ArtifactError
from rerank.ranker import Ranker

log = logging.getLogger("nextclick.rerank")

RERANKERS: Final = "rerankers"
LOOK_AGAIN_S: Final = 5.0


class Rankers:
    """Loads a re-ranker when it is first asked for; one that cannot be loaded is said once, and looked for again.

    `clock` gives seconds. May be called from several threads: a re-ranker that two load at once is loaded twice.
    """

    def __init__(self, artifacts: str, clock: Callable[[], float]) -> None:
        self._folder = Path(artifacts) / RERANKERS if artifacts else None
        self._clock = clock
        self._loaded: dict[str, Ranker] = {}
        self._missing: dict[str, float] = {}

    def named(self, name: str) -> Ranker | None:
        """Return the re-ranker of a name; None for one that cannot be had now."""
        found = self._loaded.get(name)
        if found is not None or self._clock() < self._missing.get(name, 0.0):
            return found
        try:
            return self.load(name)
        except ArtifactError as error:
            if name not in self._missing:
                log.error("the re-ranker %r of a scenario cannot be had, the default one ranks: %s", name, error)
            self._missing[name] = self._clock() + LOOK_AGAIN_S
            return None

    def load(self, name: str) -> Ranker:
        """Return the re-ranker of a name. Raises ArtifactError that says what there is."""
        if name in self._loaded:
            return self._loaded[name]
        if self._folder is None or not (self._folder / name).is_dir():
            known = ", ".join(self.names()) or "none"
            raise ArtifactError(
                f"expected a re-ranker in {RERANKERS}/{name} of the artifacts folder; there are {known[:300]}"
            )
        found = self._loaded[name] = Ranker.load(self._folder / name)
        self._missing.pop(name, None)
        return found

    def forget(self) -> None:
        """Load all anew when they are next asked for: the artifacts are others now."""
        self._loaded, self._missing = {}, {}

    def names(self) -> list[str]:
        """Return the names that there are folders of."""
        if self._folder is None or not self._folder.is_dir():
            return []
        return sorted(one.name for one in self._folder.iterdir() if one.is_dir())
