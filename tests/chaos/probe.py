"""How long a part takes to do its work again: asked as a client would, and answered by what the part has written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from typing import Any

from contracts.codec import decode_trend
from contracts.errors import LogUnavailable, NextclickError, StateUnavailable
from contracts.ids import item_key, partition_of
from contracts.keys import TRENDS
from eventlog.contract import Position
from nextclick.stack.client import Client
from state.attribution import read_ledger
from state.profiles import ProfileStore
from state.sessions import SessionStore
from state.tables import TableReader
from tests.chaos.running import PARTITIONS, Running, wait_for
from tests.chaos.traffic import Sender

LONGEST_S = 120.0
_AWAY = (StateUnavailable, LogUnavailable, NextclickError, OSError)


class Probe:
    """Asks a running stack. Its clicks are clicks like all others."""

    def __init__(self, running: Running, now_ms: Callable[[], int], item: str) -> None:
        self._running, self._now_ms, self._item = running, now_ms, item
        self._numbers = count()
        self.sender = Sender(lambda: running.address, threading.Event())

    def clicks_are_applied(self) -> None:
        """Return once a click into each partition is taken and applied."""
        places = []
        for event in self._clicks():
            token = self.sender.send([event])
            assert token
            places.append(Position.parse(token))
        self._wait(lambda: self._applied(places), "clicks to be applied")

    def profiles_are_learnt(self) -> None:
        """Return once a click of a user into each partition is learnt."""
        places = []
        for event in self._clicks():
            token = self.sender.send([event | {"user_id": "u-probe"}])
            assert token
            places.append(Position.parse(token))
        self._wait(lambda: self._learnt(places), "profiles to be learnt")

    def figures_are_counted(self) -> None:
        """Return once a click into each partition is in the figures."""
        places = []
        for event in self._clicks():
            token = self.sender.send([event])
            assert token
            places.append(Position.parse(token))
        self._wait(lambda: self._in_figures(places), "figures to be counted")

    def trends_are_counted(self) -> None:
        """Return once what was clicked now is in the trends table."""
        event = self._clicks()[0]
        self.sender.send([event])
        self._wait(lambda: self._counted(event["ts"]), "trends to be counted")

    def items_are_visible(self) -> None:
        """Return once a stock is seen by recommendations."""
        stock = 1000 + next(self._numbers)
        self._wait(lambda: self._visible(stock), "stock to be visible")

    def is_there(self, part: str) -> None:
        """Return once a part's processes are there."""
        self._wait(lambda: bool(self._running.pids(part)), f"{part} to be started again")

    def close(self) -> None:
        self.sender.close()

    def _clicks(self) -> list[dict[str, Any]]:
        """Return a click for each partition, of a visitor who has not been there."""
        found: dict[int, dict[str, Any]] = {}
        for number in self._numbers:
            name = f"probe-{number}"
            event = {"v": 1, "event_id": name, "type": "view", "session_id": name, "item_id": self._item}
            found.setdefault(partition_of(name, PARTITIONS), {**event, "ts": self._now_ms()})
            if len(found) == PARTITIONS:
                break
        return list(found.values())

    def _applied(self, places: list[Position]) -> bool:
        settings = self._running.settings
        with closing(SessionStore(settings.redis, idle_gap_ms=settings.session.idle_gap_ms)) as store:
            return all(store.progress(one.partition).next_offset > one.offset for one in places)

    def _learnt(self, places: list[Position]) -> bool:
        settings = self._running.settings
        with closing(ProfileStore(settings.redis, keep_ms=settings.profile.keep_ms)) as store:
            return all(store.next_offset(one.partition) > one.offset for one in places)

    def _in_figures(self, places: list[Position]) -> bool:
        offsets = read_ledger(self._running.settings.redis, 0, 0).offsets
        return all(offsets.get(f"clicks:{one.partition}", 0) > one.offset for one in places)

    def _counted(self, ts_ms: int) -> bool:
        with closing(TableReader(self._running.settings.redis, TRENDS)) as reader:
            [row] = reader.get([item_key(self._item).to_bytes(8, "little")])
        return row is not None and decode_trend(row).as_of_ms >= ts_ms

    def _visible(self, stock: int) -> bool:
        with Client(f"http://127.0.0.1:{self._running.port}", timeout_s=5) as client:
            return bool(client.set_stock({self._item: stock})["visible"])

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        def holds() -> bool:
            try:
                return condition()
            except _AWAY:
                time.sleep(0.02)
                return False

        wait_for(holds, LONGEST_S, what)
