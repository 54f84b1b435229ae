"""`nextclick index shard`: a process that searches one share of the items, for gateways that ask over a socket.

One thread answers, and changes the index between two answers. A second one opens snapshots and builds graphs, and one
for each shard of the catalogue's table reads its changes; they hand over what they have. The snapshots are made by
whoever builds: the format is that of an unsharded index of the same items.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TypeVar

import numpy as np

from compiled.kernels import prepare
from contracts.errors import ArtifactError, SettingsError, StateUnavailable
from contracts.exits import or_exit
from contracts.left_out import reason_of
from contracts.logs import log_as
from contracts.observed import serve_metrics
from contracts.outage import Outage
from contracts.settings import ServiceSettings
from contracts.stopping import Stopping, on_stop_signals
from retrieval import shard_figures
from retrieval.follow import Follower
from retrieval.live import Opened, open_current, rehearse
from retrieval.shard_frames import Answer, Search
from retrieval.shard_heads import LOADING
from retrieval.shard_sockets import Door
from retrieval.share import Share, addresses_of, expect_share, settings_of
from retrieval.snapshot import read_pointer
from session_model.serving import load_tower
from state.presence import announce
from state.shards import catalogue_reader
from state.table_changes import ChangesTrimmed

log = logging.getLogger("nextclick.shard")

T = TypeVar("T")

BLOCK_MS = 500
RETRY_S = 1.0
_FORESEEN = (ArtifactError, SettingsError, StateUnavailable, ChangesTrimmed, OSError)
_AT_ONCE = 64
"""Changes taken between two answers, at most: some 6 ms."""


class Shard:
    """One share of the index. `respond` and what is posted run in the thread that calls `serve`."""

    def __init__(self, settings: ServiceSettings, share: Share, address: str | None = None) -> None:
        """`address`: where to listen, by default as the settings say. Raises StartupError, SettingsError."""
        self.share = share
        self._settings = settings.model_copy(update={"index": settings_of(share, settings.index)})
        self._reader = catalogue_reader(settings.redis)
        self._serving: Follower | None = None
        self._stopping = Stopping()
        self._snapshot: str | None = None
        self._whole_at = [monotonic()] * len(self._reader.shards)
        self.door = Door(address or addresses_of(settings.index)[share.shard], self.respond)
        shard_figures.watch(share.shard, self.door, lambda: self._serving, self.behind_s)

    def behind_s(self) -> float:
        """Return the seconds since the last look at the catalogue that found nothing more to take."""
        return monotonic() - min(self._whole_at)

    def serve(self) -> None:
        """Answer until `stop`."""
        threading.Thread(target=self._keep, name="follow", daemon=True).start()
        while not self._stopping.is_set():
            self.door.turn(BLOCK_MS / 1000)
        self.door.close()

    def stop(self) -> None:
        """End `serve`, from any thread or a signal's handler."""
        self._stopping.set()
        self.door.post(lambda: None)

    def respond(self, search: Search) -> Answer | str:
        """Search the share. A question of another layout or model is refused: its answer would be wrong."""
        serving = self._serving
        if serving is None:
            return LOADING
        if (search.shard, search.of) != self.share:
            return f"this is shard {self.share.shard} of {self.share.of}, not {search.shard} of {search.of}"
        columns = serving.columns
        if len(serving.index) and (search.model, search.queries.shape[1]) != (columns.model_version, columns.dim):
            return (
                f"its vectors are of item tower {columns.model_version or 0:016x} with {columns.dim} dimensions, "
                f"the queries of {search.model:016x} with {search.queries.shape[1]}"
            )
        rows, similarity = serving.index.search(search.queries, search.k, search.filters)
        none = rows < 0
        keys = np.where(none, np.uint64(0), columns.keys[rows]) if columns.count else np.zeros(rows.shape, np.uint64)
        return Answer(serving.numbers, keys, np.where(none, np.float32(-np.inf), similarity))

    def _keep(self) -> None:
        """Follow for ever; what goes wrong is said once, and tried again, while what is there serves on."""
        outage = Outage(log, "the catalogue is not followed now: ")
        while not self._stopping.is_set():
            try:
                follower = self._fresh()
                self._hand(lambda fresh=follower: self._take_up(fresh))  # type: ignore[misc]
                outage.over()
                self._feed(follower)
            except Exception as error:  # ending would leave what is there to grow old
                if self._stopping.is_set():
                    return
                _tell(outage, error)
                self._stopping.wait(RETRY_S)

    def _fresh(self) -> Follower:
        """Return columns and index of the share as they are now: from the snapshot on, or from all rows."""
        tower = load_tower(self._settings.artifacts, self._settings.text_model)
        opened: Opened | None = None
        self._snapshot = self._current()
        if self._snapshot is not None:
            try:
                opened = open_current(self._settings.index, model=(tower.version, tower.dim))
            except ArtifactError as error:
                log.error("starting without a snapshot: %s", error)
        follower = Follower(self._reader, tower, self._settings.index, self.share)
        follower.start(opened)
        if opened is not None:
            rehearse(opened, np.random.default_rng())
        elif not follower.index.has_base:
            follower.index.rebuild()
        return follower

    def _take_up(self, follower: Follower) -> None:
        self._serving = follower
        log.info("serving %d items of shard %d of %d", len(follower.index), *self.share)

    def _feed(self, follower: Follower) -> None:
        """Have changes handed over as they come; returns once there is another snapshot. Raises what goes wrong."""
        ended = threading.Event()
        failed: list[Exception] = []

        def feed(part: int) -> None:
            try:
                while not (ended.is_set() or self._stopping.is_set()):
                    self._take_next(follower, part)
            except Exception as error:
                failed.append(error)
            ended.set()

        parts = range(len(self._reader.shards))
        feeders = [threading.Thread(target=feed, args=(part,), name=f"feed-{part}", daemon=True) for part in parts]
        for feeder in feeders:
            feeder.start()
        try:
            while not ended.wait(self._settings.index.check.total_seconds()) and self._current() == self._snapshot:
                self._build_if_due(follower)
        finally:
            ended.set()
            for feeder in feeders:
                feeder.join()
        if failed:
            raise failed[0]

    def _take_next(self, follower: Follower, part: int) -> None:
        """Wait for changes of a shard of the table, and hand them over."""
        changes = self._reader.shards[part].changes(follower.numbers[part], BLOCK_MS, _AT_ONCE)
        if changes:
            self._hand(lambda: follower.take(part, changes))
        if len(changes) < _AT_ONCE:
            self._whole_at[part] = monotonic()

    def _build_if_due(self, follower: Follower) -> None:
        """Build a graph of what has none here: where there is no builder, or not yet a snapshot."""
        index = follower.index
        plan = self._hand(index.plan_rebuild)
        if plan is not None:
            graph = plan.build(self._settings.index.build_threads)
            self._hand(lambda: index.adopt(graph))

    def _current(self) -> str | None:
        folder = self._settings.index.folder
        if not folder:
            return None
        with suppress(ArtifactError):
            return read_pointer(Path(folder)).current
        return self._snapshot

    def _hand(self, work: Callable[[], T]) -> T | None:
        """Have something done between two answers, and wait for it. None when the process ends. Raises what it does."""
        done: threading.Event = threading.Event()
        found: list[T] = []
        failed: list[BaseException] = []

        def do() -> None:
            try:
                found.append(work())
            except BaseException as error:
                failed.append(error)
            done.set()

        self.door.post(do)
        while not done.wait(1.0):
            if self._stopping.is_set():
                return None
        if failed:
            raise failed[0]
        return found[0]


def _tell(outage: Outage, error: Exception) -> None:
    """Say once what goes wrong; of what nobody foresaw, where."""
    if isinstance(error, _FORESEEN):
        outage.failed(error)
        return
    reason = reason_of(error)
    if not outage.failures:
        log.error("the catalogue is not followed now: %s", reason, exc_info=error)
    outage.failed(reason)


def run_shard(settings: ServiceSettings, share: Share) -> None:
    """Serve a share until SIGTERM or Ctrl-C. Raises StartupError, SettingsError."""
    prepare()
    shard = Shard(settings, share)
    serve_metrics(f"index-shard-{share.shard}", settings.metrics, shard_figures.FIGURES)
    announce(settings.redis, f"index-shard-{share.shard}")
    on_stop_signals(shard.stop)
    log.info("shard %d of %d listens at %s", *share, shard.door.address)
    shard.serve()


def main() -> None:
    """`python -m retrieval.shard N`: shard N of `index.shards`."""
    log_as(f"index-shard-{sys.argv[1]}")

    def run() -> None:
        settings = ServiceSettings()
        run_shard(settings, expect_share(int(sys.argv[1]), settings.index.shards))

    or_exit(run)


if __name__ == "__main__":
    main()
