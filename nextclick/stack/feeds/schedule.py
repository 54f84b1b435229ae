"""When feeds are pulled: one at a time, each by a process of its own that ends with it. Between two pulls a schedule
costs a look at one file's time a second, and holds nothing.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.feed_status import FeedPull as Pull
from contracts.masked import masked
from nextclick.stack.feeds.definition import FeedError, FeedFolder, State
from nextclick.stack.feeds.telling import Telling
from state.launch import LogFile, launch

log = logging.getLogger("nextclick.feeds")

LOOK_MS: Final = 1000
NICENESS: Final = 10
AGAIN_MS: Final = 60_000
"""A pull that ended without a word (it was killed, or its store cannot be read) is begun again no sooner."""


@dataclass(frozen=True, slots=True)
class Due:
    """A feed, and when it is pulled next."""

    name: str
    next_ms: int


def next_due(feeds: Sequence[Due], not_before: Mapping[str, int], now_ms: int) -> str | None:
    """Return the feed that has been due for longest; None where none is. Pure."""
    ready = [one for one in feeds if max(one.next_ms, not_before.get(one.name, 0)) <= now_ms]
    return min(ready, key=lambda one: (one.next_ms, one.name)).name if ready else None


class Schedule:
    """Begins pulls that are due. Mutable; `look` is called again and again, from one thread."""

    def __init__(
        self,
        folder: FeedFolder,
        url: str,
        log_file: Path,
        clock_ms: Callable[[], int],
        env: Mapping[str, str],
        told: Callable[[str, Pull], None] = lambda _name, _pull: None,
        telling: Telling | None = None,
    ) -> None:
        """`told` is called with each pull that ended; `telling` tells gateways how feeds do."""
        self._folder, self._url, self._log = folder, url, LogFile(log_file)
        self._clock_ms, self._env, self._told = clock_ms, dict(env), told
        self._telling = telling
        self._looked_ms, self._marked = 0, -1
        self._feeds: list[Due] = []
        self._not_before: dict[str, int] = {}
        self._running: tuple[str, subprocess.Popen[bytes], State] | None = None

    @property
    def is_pulling(self) -> bool:
        return self._running is not None

    def look(self) -> None:
        """Begin a pull where one is due and none runs. Whatever goes wrong is logged: the stack lives on."""
        now_ms = self._clock_ms()
        if 0 <= now_ms - self._looked_ms < LOOK_MS:
            return
        self._looked_ms = now_ms
        try:
            self._look(now_ms)
            if self._telling is not None:
                running = None if self._running is None else self._running[0]
                self._telling.look(self._folder, self._marked, running, now_ms)
        except (OSError, FeedError) as error:
            log.warning("feeds: %s", masked(str(error)))

    def stop(self) -> None:
        """End the pull that runs: what it staged is applied by the next one."""
        if self._running is not None:
            self._running[1].terminate()
            self._running[1].wait()
            self._running = None
        if self._telling is not None:
            self._telling.close()

    def _look(self, now_ms: int) -> None:
        if self._running is not None:
            name, process, before = self._running
            status = process.poll()
            if status is None:
                return
            self._running = None
            self._log.bound()
            without_a_word = self._folder.state(name) == before
            self._not_before[name] = now_ms + (AGAIN_MS if without_a_word else LOOK_MS)
            if without_a_word:
                log.warning("feed %s: its pull ended without a word (%d): %s says why", name, status, self._log.path)
            else:
                self._say(name)
        if (marked := self._mark()) != self._marked:
            self._marked = marked
            self._feeds = [Due(name, self._folder.state(name).next_ms) for name in self._folder.names()]
        if not self._feeds:
            return
        if (name_due := next_due(self._feeds, self._not_before, now_ms)) is not None:
            self._begin(name_due, now_ms)

    def _begin(self, name: str, now_ms: int) -> None:
        self._not_before[name], before = now_ms + AGAIN_MS, self._folder.state(name)
        command = [sys.executable, "-m", "nextclick", "feed", "pull", name]
        words = ["--feeds", str(self._folder.folder), "--url", self._url]
        process = launch([*command, *words], self._log, env=self._env)
        self._running = name, process, before
        try:
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        except OSError:  # it has ended
            return

    def _say(self, name: str) -> None:
        """Say how the pull that ended went: what is to be looked at as a warning."""
        last = self._folder.state(name).last
        if last is None:
            return
        well = last.outcome in ("applied", "unchanged")
        (log.info if well else log.warning)("feed %s: %s%s", name, last.outcome, f": {last.why}" if last.why else "")
        self._told(name, last)

    def _mark(self) -> int:
        try:
            return self._folder.marker.stat().st_mtime_ns
        except FileNotFoundError:
            return 0
