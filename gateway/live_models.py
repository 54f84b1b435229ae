"""The models as this process serves them: a re-ranker that is published is taken up between two requests.

A new session model comes with the index snapshot of its item tower (`gateway.live_index`), as vectors of two towers
must not mix. A re-ranker fits whatever vectors there are, so it need not wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from contracts.errors import ArtifactError
from gateway.live_index import LiveIndex
from gateway.models import Models, load_models

log = logging.getLogger("nextclick.gateway")

_WATCHED: Final = ("session_model/manifest.json", "reranker/manifest.json")
Stamp = tuple[str, ...]


class LiveModels:
    """Looks at the artifacts, and has models of the session model that serves exchanged. For one event loop."""

    def __init__(self, artifacts: str, live: LiveIndex, switch: Callable[[Models], None], every_s: float) -> None:
        """`switch` makes what ranks anew."""
        self._artifacts, self._switch, self._every_s = artifacts, switch, every_s
        self.live = live
        self._stamp = self._look()
        self._awaited: str | None = None
        """The session model whose snapshot is waited for."""
        self.swaps = 0
        self.refused = 0

    async def follow(self) -> None:
        """Take up what is published, for ever."""
        if not self._artifacts:
            return
        while True:
            await asyncio.sleep(self._every_s)
            await self.look()

    async def look(self) -> None:
        """Take up what is published now. Models that cannot be loaded are said, and the old ones serve on."""
        stamp = await asyncio.to_thread(self._look)
        if stamp == self._stamp and (self._awaited is None or self._awaited != self.live.models.version):
            return
        try:
            models = await asyncio.to_thread(load_models, self._artifacts)
        except ArtifactError as error:
            self.refused += 1
            self._stamp, self._awaited = stamp, None
            log.error("going on with the models that serve: %s", error)
            return
        if await asyncio.to_thread(self._look) != stamp:
            return  # it changed while it was read: the next look takes it whole
        self._stamp, self._awaited = stamp, None
        if models.version != self.live.models.version:
            self._awaited = models.version
            await asyncio.to_thread(self.live.ask_for, models.version)
            return
        before, self.live.models = self.live.models, models
        if (before.name, ranker_version(before)) == (models.name, ranker_version(models)):
            return
        self._switch(models)
        self.swaps += 1
        log.info("serving re-ranker %s", ranker_version(models))

    def _look(self) -> Stamp:
        """Return what changes with the artifacts: where they are, and their manifests' inodes and times."""
        if not self._artifacts:
            return ()
        folder = Path(self._artifacts)
        found = [str(folder.resolve())]
        for name in _WATCHED:
            try:
                seen = (folder / name).stat()
                found.append(f"{seen.st_ino} {seen.st_mtime_ns} {seen.st_size}")
            except OSError:
                found.append("none")
        return tuple(found)


def ranker_version(models: Models) -> str:
    """Return the re-ranker's version, 16 hex digits, or `none`."""
    return "none" if models.ranker is None else models.ranker.version
