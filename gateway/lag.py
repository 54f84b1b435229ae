"""How the streams and Redis do, as this process sees them: asked at each scrape, never on a request's way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from time import monotonic

from contracts.errors import StateUnavailable
from eventlog.contract import Topic
from eventlog.redis_size import RedisLogSize, sizes_of
from gateway.appends import Appends
from gateway.metrics import Metrics
from gateway.sharded_replica import Followed
from state.read_progress import READERS, Memory, StateWatch, Told
from state.sessions import SessionReader

MEASURE_S = 0.25
LOOK_AGAIN_S = 1.0
"""However often readiness is asked for: Redis is asked at most this often whether it takes writes."""
UNKNOWN = float("nan")


class Lag:
    """Clicks that this process appended and the session path and the trends have not taken, changes that replicas lack,
    what was lost to a flow, and whether Redis takes writes.

    What is behind is NaN while Redis does not answer; `lost` stays as it was last seen.
    """

    def __init__(
        self,
        appends: Appends,
        reader: SessionReader,
        replicas: Iterable[Followed],
        state: StateWatch,
        size: RedisLogSize | None = None,
    ) -> None:
        """`size` is asked how many bytes the Redis log has."""
        self._size = size
        self.log_bytes: dict[str, float] = {}
        self._appends, self._reader, self._replicas = appends, reader, tuple(replicas)
        self._state, self._looked_at = state, -LOOK_AGAIN_S
        self.clicks = self.trends = self.profiles = 0.0
        self.tables = dict.fromkeys((replica.name for replica in self._replicas), 0.0)
        self.lost: Counter[tuple[str, str]] = Counter()
        self.takes_writes: bool | None = None
        """None while that is not known."""
        self.memory: Memory | None = None
        """None while that is not known."""
        self.refusal: str | None = None
        self.restoring: str | None = None
        """What a backup that is being put into Redis means, as it was last seen."""

    async def measure(self) -> None:
        """Ask Redis, for a moment at most."""
        try:
            async with asyncio.timeout(MEASURE_S):
                self.clicks = await self._clicks_behind()
                for replica in self._replicas:
                    self.tables[replica.name] = await replica.behind()
                told = await self._state.told()
                self.log_bytes = await sizes_of(self._size)
        except (TimeoutError, StateUnavailable):
            self.clicks = self.trends = self.profiles = UNKNOWN
            self.log_bytes = {}
            self.tables = dict.fromkeys(self.tables, UNKNOWN)
        else:
            self.lost = told.lost
            self.trends, self.profiles = (self._behind(told, flow) for flow in ("trends", "profiles"))
        await asyncio.gather(self.look_at_state(), self._look_at_memory())

    async def look_at_state(self) -> None:
        """Ask Redis whether it takes writes, all primaries of a cluster, and whether a backup is being put into it; for
        a moment at most, unless that was asked a moment ago.
        """
        if monotonic() - self._looked_at < LOOK_AGAIN_S:
            return
        self._looked_at = monotonic()
        try:
            async with asyncio.timeout(MEASURE_S):
                self.refusal, self.restoring = await self._state.look()
                self.takes_writes = self.refusal is None
        except (TimeoutError, StateUnavailable):
            self.refusal, self.takes_writes = None, None

    async def _look_at_memory(self) -> None:
        """Ask Redis how full it is, for a moment at most."""
        try:
            async with asyncio.timeout(MEASURE_S):
                self.memory = await self._state.memory()
        except (TimeoutError, StateUnavailable):
            self.memory = None

    async def told(self) -> Told:
        """Return what flows have told, now. Raises StateUnavailable, TimeoutError."""
        async with asyncio.timeout(MEASURE_S):
            return await self._state.told()

    async def close(self) -> None:
        await self._state.close()
        if self._size is not None:
            await self._size.close()

    async def unread(self, flow: str, newest: Mapping[int, int]) -> int:
        """Return how many of the clicks up to `newest`, offsets by partition, a flow has not read. Raises
        StateUnavailable.
        """
        told = await self._state.told()
        return sum(max(0, n + 1 - told.reached.get((flow, str(Topic.CLICKS), p), 0)) for p, n in newest.items())

    def _behind(self, told: Told, flow: str) -> float:
        """Return how many clicks of this process a flow has not read, as it told."""
        newest = self._appends.newest_click.items()
        return float(sum(max(0, n + 1 - told.reached.get((flow, str(Topic.CLICKS), p), 0)) for p, n in newest))

    async def _clicks_behind(self) -> float:
        behind = 0
        for partition, newest in list(self._appends.newest_click.items()):
            behind += max(0, newest + 1 - await self._reader.applied(partition))
        return behind

    def _state_takes(self) -> float:
        return UNKNOWN if self.takes_writes is None else float(self.takes_writes)

    def show(self, metrics: Metrics) -> None:
        """Show what was measured."""
        metrics.gauge("clicks_behind", "Clicks appended by this process and not yet applied.", {}, lambda: self.clicks)
        about = "Clicks appended by this process that the trends flow has not read yet."
        metrics.gauge("trends_behind", about, {}, lambda: self.trends)
        about = "Clicks appended by this process that the profiles flow has not read yet."
        metrics.gauge("profiles_behind", about, {}, lambda: self.profiles)
        metrics.gauge("state_takes", "1 while Redis takes writes of the flows' state.", {}, self._state_takes)
        about = "Bytes that Redis uses."
        metrics.gauge("redis_used_bytes", about, {}, lambda: UNKNOWN if self.memory is None else self.memory.used)
        about = "Bytes that Redis may use; 0: no bound."
        metrics.gauge("redis_max_bytes", about, {}, lambda: UNKNOWN if self.memory is None else self.memory.most)
        for name in self.tables:
            about = "Changes that the replica lacks."
            metrics.gauge("table_changes_behind", about, {"table": name}, lambda name=name: self.tables[name])  # type: ignore[misc]
        for topic in map(str, Topic) if self._size is not None else ():
            about = "Bytes of records that the Redis log keeps of a topic."
            metrics.gauge("log_bytes", about, {"topic": topic}, lambda topic=topic: self.log_bytes.get(topic, UNKNOWN))  # type: ignore[misc]
        about = "Records that the log had trimmed before the flow read them: lost to it, whoever asks."
        for flow, topic in READERS:
            key = (flow, topic)
            metrics.total("records_lost", about, {"flow": flow, "topic": topic}, lambda key=key: self.lost[key])  # type: ignore[misc]
