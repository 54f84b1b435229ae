"""Erasures under way, carried out by one of the gateway's processes: in the order in which nothing comes back.

First every process knows whom it concerns and takes no more of their past; then what is held is taken away; then flows
have passed the place where it was, and what they wrote meanwhile goes too. A process that dies leaves names and steps
in Redis: another one begins again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final

import msgspec

from contracts.errors import LogUnavailable, NextclickError, StateUnavailable
from contracts.hashed_names import hashed
from contracts.keys import Keys
from contracts.settings import ServiceSettings
from gateway.erasing import Sweep, Work
from gateway.erasing_files import Files
from rights.erasure import Erasure, Status, Subject, decode_erasure, encode_erasure
from state.client import connect, redis_errors_translated
from state.erasures import ErasureStore
from state.flow_offsets import KEPT_BESIDE_STATE, stored_offsets
from state.holders import Holder
from state.presence import SILENT_MS, processes_of

log = logging.getLogger("nextclick.gateway")

_LOOK_S: Final = 0.1
_TELL: Final = ("gateway", "trends")
"""Kinds of processes that hold visitors' names in memory, and say when they let go."""
_LEAD_S: Final = 5.0
_AT_THE_DOOR: Final = ("gateway",)
"""Kinds that take records: nothing comes after they know. The trends flow takes some ten seconds to say so, and is
waited for once, when the records are gone.
"""
_GATEWAYS: Final = "gateways that do not say that they let go"
_FOLLOWERS: Final = "gateways, or the trends flow, that do not say that they let go"
_PATIENCE_S: Final = 60.0
"""How long one pass waits for others; then it says what it waits for, and the next begins."""


class Stopped(Exception):
    """The process ends: the pass goes on in another."""


class Waits(NextclickError):
    """Somebody has to do something first, and has not done it yet."""


class ErasureWork:
    """One pass over all that is under way. For one thread."""

    def __init__(
        self,
        settings: ServiceSettings,
        store: ErasureStore,
        process: str,
        clock_ms: Callable[[], int],
        files: Sequence[Files] = (),
        sleep: Callable[[float], None] = time.sleep,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._settings, self._store, self._process = settings, store, process
        self._clock_ms, self._files, self._sleep, self._patience_s = clock_ms, files, sleep, patience_s
        self._led_s = time.monotonic()

    def run(self) -> bool:
        """Carry out what is under way; False where nothing is, or another process does it. Raises StateUnavailable and
        LogUnavailable: run again.
        """
        running = [one for one in erasures_of(self._store) if one.status is Status.RUNNING]
        if not running or not self._store.lead(self._process):
            return False
        sweep = Sweep(self._settings, self._clock_ms, sleep=self._rest)
        try:
            works = self._works(sweep, running)
            try:
                self._carry_out(sweep, works)
            except Waits as error:
                for work in works:
                    waits = msgspec.structs.replace(work.take_counts(), waits_for=str(error))
                    self._store.put(waits.id, encode_erasure(waits))
        finally:
            sweep.close()
        return True

    def _works(self, sweep: Sweep, running: Sequence[Erasure]) -> list[Work]:
        works, unknown = [], []
        for one in running:
            job = self._store.job(one.id)
            if job is None:
                unknown.append(one)
            else:
                works.append(Work.of(one, job))
        return works + (sweep.recover(self._store.secret(), unknown) if unknown else [])

    def _carry_out(self, sweep: Sweep, works: Sequence[Work]) -> None:
        holders = sweep.redis.holders()
        for work in works:
            sweep.forget(work)
            self._keep(work, tells=False)
        self._wait(_GATEWAYS, self._all_told(_AT_THE_DOOR))
        sweep.find_sessions(works)
        for work in works:
            self._name_sessions(work)
            self._keep(work)
        self._wait(_GATEWAYS, self._all_told(_AT_THE_DOOR))
        found = sweep.look_into_log(works)
        for work in works:
            self._keep(work, tells=False)  # it leads to more, and is gone from the log once this pass is through
        sweep.sweep_redis(works)
        self._sweep_files(works)
        sweep.empty_log(found)
        found.counted()
        for work in works:
            self._keep(work)
        if sweep.log is not None:
            self._wait("flows that did not read up to where the records were", self._all_read(sweep.log.ends()))
        self._wait(_FOLLOWERS, self._all_told(_TELL))  # what was read just before is let go of too
        sweep.sweep_redis(works)
        sweep.mask_audit(works)
        self._expect_gone(sweep, holders)
        for work in works:  # the names go first: they stand in the file too
            self._store.finish(work.erasure.id, encode_erasure(work.take_counts()))
        refused = sweep.redis.rewrite_files()
        if refused is None:
            self._wait("Redis, which writes its append-only file again", lambda: not sweep.redis.rewrites_files())
        for work in works:
            self._finish(work, refused)

    def _expect_gone(self, sweep: Sweep, holders: tuple[Holder, ...]) -> None:
        """Return once no replica that takes over brings anything back. Raises Waits where one did meanwhile, or where
        slots moved, whose keys may have been passed by: all of it is carried out again.
        """
        written = sweep.redis.written()
        self._wait("replicas that do not have it yet", lambda: sweep.redis.is_copied(written))
        try:
            sweep.redis.expect_holders(holders)
        except StateUnavailable as error:
            raise Waits(str(error)) from error

    def _sweep_files(self, works: Sequence[Work]) -> None:
        newest_ms = max(work.at_ms for work in works)
        for files in self._files:
            self._wait("files that are being written", lambda files=files: files.ready(newest_ms))  # type: ignore[misc]
            for work in works:
                try:
                    work.removed.update(files.sweep(work))
                except (OSError, NextclickError) as error:
                    raise Waits(f"files: {error}") from error

    def _name_sessions(self, work: Work) -> None:
        if work.erasure.subject is Subject.USER:
            secret = self._store.secret()
            signs = {hashed(secret, Subject.SESSION, name) for name in work.names.sessions}
            signs |= set(work.erasure.sessions)
            work.erasure = msgspec.structs.replace(work.erasure, sessions=tuple(sorted(signs)))

    def _keep(self, work: Work, *, tells: bool = True) -> None:
        self._rest(0)
        self._store.put(work.erasure.id, encode_erasure(work.take_counts()), work.job, tells=tells)

    def _finish(self, work: Work, refused: str | None) -> None:
        failed = {} if refused is None else {"file:append_only_file": refused}
        done = msgspec.structs.replace(
            work.take_counts(),
            **{"status": Status.DONE, "done_ms": self._clock_ms(), "waits_for": None, "again": False},
            failed=failed,
            runs=work.erasure.runs + 1,
        )
        self._store.put(done.id, encode_erasure(done))
        log.info("erasure %s is done: %d things in %d places", done.id, sum(done.removed.values()), len(done.removed))

    def _wait(self, whom: str, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + self._patience_s
        while not is_so():
            if time.monotonic() > until:
                raise Waits(whom)
            self._rest(_LOOK_S)

    def _rest(self, seconds: float) -> None:
        """Sleep, and go on leading. Raises Stopped where another process does."""
        self._sleep(seconds)
        if time.monotonic() - self._led_s > _LEAD_S:
            self._led_s = time.monotonic()
            if not self._store.lead(self._process):
                raise Stopped

    def _all_told(self, kinds: Sequence[str]) -> Callable[[], bool]:
        """Return what tells whether every process of some kinds that is there let go of what is erased by now."""
        number = self._store.number()

        def told() -> bool:
            have = self._store.told()
            return all(have.get(name, 0) >= number for kind in kinds for name in self._there(kind))

        return told

    def _all_read(self, ends: dict[str, int]) -> Callable[[], bool]:
        """Return what tells whether every flow that is there, and writes of visitors, read up to the log's ends."""

        partitions = self._settings.log.partitions

        def read() -> bool:
            return all(
                offset >= ends.get(f"{topic}:{partition}", 0)
                for flow in KEPT_BESIDE_STATE
                if self._there(flow)
                for (topic, partition), offset in stored_offsets(self._settings.redis, flow, partitions).items()
            )

        return read

    def _there(self, kind: str) -> list[str]:
        redis = self._settings.redis
        with redis_errors_translated(redis), closing(connect(redis)) as client:
            lines: Any = client.hgetall(Keys(redis.prefix).processes())
        now_ms = self._clock_ms()
        there, _ = processes_of(lines, now_ms)
        return [one.name for one in there if one.kind == kind and now_ms - one.at_ms <= SILENT_MS]


def erasures_of(store: ErasureStore) -> list[Erasure]:
    """Return all erasures that can be read, oldest first."""
    found = []
    for name, raw in store.all().items():
        try:
            found.append(decode_erasure(raw))
        except ValueError as error:
            log.error("the erasure %s cannot be read, and is passed by: %s", name, error)
    return sorted(found, key=lambda one: (one.at_ms, one.id))


OUTAGES: Final = (StateUnavailable, LogUnavailable)
