"""The flows' steps in a thread: what a test needs so that events and item changes arrive where requests read them."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from contracts.clock import wall_clock_ms
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Topic
from eventlog.open_log import open_reader, open_writer
from flows.catalogue_follower import CatalogueFollower
from flows.item_steps import ItemPath, decode_changes
from flows.session_steps import SessionPath, decode_batch
from flows.watched import WatchItems
from retrieval.catalogue import CatalogueColumns
from session_model.serving import load_encoder, load_tower
from session_model.window import WindowRules
from state.sessions import SessionStore
from state.shards import catalogue_reader, catalogue_writer

IDLE_GAP_MS = 30 * 60 * 1000


class Streams:
    """Applies clicks and item changes until left; once `pause` has returned, both are held back."""

    def __init__(
        self, log: LogSettings, redis: RedisSettings, artifacts: str = "", watch: WatchItems | None = None
    ) -> None:
        self.log, self.redis, self.watch = log, redis, watch
        self.encoder, self.tower = load_encoder(artifacts), load_tower(artifacts)
        self._stop = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self._held = threading.Barrier(3)
        self._threads = [threading.Thread(target=self._clicks), threading.Thread(target=self._items)]

    def pause(self) -> None:
        self._running.clear()
        self._held.wait(60)

    def _goes_on(self) -> bool:
        """Wait while paused; False at the end."""
        if not self._running.is_set() and not self._stop.is_set():
            self._held.wait(60)
            self._running.wait()
        return not self._stop.is_set()

    def resume(self) -> None:
        self._running.set()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._running.set()
        for thread in self._threads:
            thread.join()

    def _clicks(self) -> None:
        columns = CatalogueColumns(model_version=self.encoder.version, dim=self.encoder.dim)
        store = SessionStore(self.redis, idle_gap_ms=IDLE_GAP_MS)
        writer = open_writer(self.log, self.redis)
        path = SessionPath(
            store=store,
            writer=writer,
            encoder=self.encoder,
            item_vectors=columns,
            rules=WindowRules(),
            clock_ms=wall_clock_ms,
        )
        follower = catalogue_reader(self.redis)
        catalogue = CatalogueFollower(follower, columns, refresh_ms=0)
        partitions = list(range(self.log.partitions))
        reader = open_reader(self.log, self.redis, Topic.CLICKS, partitions, "sessions")
        while self._goes_on():
            for batch in reader.poll(1000, 0.01):
                catalogue.refresh(wall_clock_ms())
                path.apply(decode_batch(batch, now_ms=wall_clock_ms(), max_future_ms=300_000))
        for opened in (reader, writer, store, follower):
            opened.close()

    def _items(self) -> None:
        table_reader, table = catalogue_reader(self.redis), catalogue_writer(self.redis)
        table.claim()
        writer = open_writer(self.log, self.redis)
        path = ItemPath(
            reader=table_reader,
            table=table,
            writer=writer,
            tower=lambda: self.tower,
            clock_ms=wall_clock_ms,
            watch=self.watch,
        )
        reader = open_reader(self.log, self.redis, Topic.ITEMS, list(range(self.log.partitions)), "items")
        while self._goes_on():
            for batch in reader.poll(1000, 0.01):
                path.apply(decode_changes(batch, now_ms=wall_clock_ms()))
        for opened in (reader, writer, table, table_reader):
            opened.close()
