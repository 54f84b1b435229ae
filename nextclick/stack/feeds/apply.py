"""Applies staged changes through the gateway's catalogue API, at a pace that leaves it room."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from connect.feeds.judged import pause_s
from connect.feeds.rows import Fault
from contracts.errors import NextclickError
from contracts.feed_settings import FeedOptions
from contracts.items import UNLIMITED_STOCK
from nextclick.stack.client import Client, GatewayRefused, GatewayUnreachable, NoKey
from nextclick.stack.feeds.store import FeedStore, Staged

PATIENCE: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between tries while the gateway takes nothing. After that the pull ends, and the next one goes on."""
_LATER: Final = frozenset((408, 425, 429, 500, 502, 503, 504))


class Door(Protocol):
    """What takes changes: the gateway's client."""

    def put_items(self, lines: Sequence[bytes]) -> dict[str, Any]: ...
    def set_stock(self, stock: dict[str, int]) -> dict[str, Any]: ...
    def delete_items(self, item_ids: Sequence[str]) -> None: ...


@dataclass(slots=True)
class Applied:
    """What was applied. Mutable. `refused`: what the gateway did not take, with its words."""

    counts: Counter[str] = field(default_factory=Counter)
    refused: list[Fault] = field(default_factory=list)
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """Where time comes from."""

    monotonic: Callable[[], float]
    sleep: Callable[[float], None]


def apply_staged(
    store: FeedStore, door: Door, options: FeedOptions, timing: Timing, elsewhere: Sequence[Path], applied: Applied
) -> None:
    """Apply all that is staged. Raises GatewayRefused or GatewayUnreachable where the gateway takes nothing for a
    while: what was taken is in `applied` and noted, the rest stays staged.
    """
    while batch := store.staged(options.batch):
        began = timing.monotonic()
        skipped = named_elsewhere(elsewhere, batch)
        sent = [one for one in batch if one.item_id not in skipped]
        refused = _patiently(partial(_send, door, sent), timing) if sent else {}
        took_s = timing.monotonic() - began
        store.applied(batch, refused)
        applied.counts[batch[0].op] += len(sent) - len(refused)
        applied.refusals += len(refused)
        for item_id, reason in refused.items():
            if len(applied.refused) < options.report:
                applied.refused.append(Fault(0, f"the gateway refused it: {reason}", item_id))
        timing.sleep(pause_s(len(batch), took_s, options.most_per_s, options.busy_share))


def named_elsewhere(stores: Sequence[Path], batch: Sequence[Staged]) -> set[str]:
    """Return those of the items to delete that another feed has: it keeps them."""
    if not batch or batch[0].op != "delete":
        return set()
    found: set[str] = set()
    for path in stores:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            ids = [one.item_id for one in batch]
            question = f"SELECT item_id FROM items WHERE digest IS NOT NULL AND item_id IN ({','.join('?' * len(ids))})"
            found.update(row[0] for row in db.execute(question, ids))
        except sqlite3.Error:  # one that was just made
            continue
        finally:
            db.close()
    return found


def _send(door: Door, batch: Sequence[Staged]) -> dict[str, str]:
    """Send changes of one kind; returns those that were refused, with the reason."""
    match batch[0].op:
        case "delete":
            door.delete_items([one.item_id for one in batch])
            return {}
        case "stock":
            unlimited = UNLIMITED_STOCK
            answer = door.set_stock({one.item_id: unlimited if one.stock is None else one.stock for one in batch})
        case "put":
            try:
                answer = door.put_items([one.document for one in batch])
            except GatewayRefused as error:
                if error.status != 413 or len(batch) == 1:
                    raise
                half = len(batch) // 2
                return {**_send(door, batch[:half]), **_send(door, batch[half:])}
    return {batch[one["index"]].item_id: str(one["reason"]) for one in answer.get("rejected") or ()}


def _patiently(send: Callable[[], dict[str, str]], timing: Timing) -> dict[str, str]:
    for pause in PATIENCE:
        try:
            return send()
        except GatewayUnreachable:
            timing.sleep(pause)
        except GatewayRefused as error:
            if error.status not in _LATER:
                raise
            timing.sleep(pause)
    return send()


class GatewayDoor:
    """The gateway's catalogue, with a key of our own where it asks for one (`make_key`)."""

    def __init__(self, url: str, key: str, make_key: Callable[[], str], deleters: int = 4) -> None:
        self._url, self._make_key, self._deleters = url, make_key, deleters
        self._key = key
        self._client = Client(url, key=key)

    def put_items(self, lines: Sequence[bytes]) -> dict[str, Any]:
        return self._opened(lambda: self._client.put_items(lines))

    def set_stock(self, stock: dict[str, int]) -> dict[str, Any]:
        return self._opened(lambda: self._client.set_stock(stock))

    def delete_items(self, item_ids: Sequence[str]) -> None:
        """Delete items, a few at a time: each answer waits until recommendations no longer show its item."""
        self._opened(lambda: self._client.delete_item(item_ids[0]))  # it may have to make the key
        parts = [item_ids[1 + n :: self._deleters] for n in range(self._deleters)]
        with ThreadPoolExecutor(self._deleters) as pool:
            list(pool.map(self._delete, parts))

    def close(self) -> None:
        self._client.close()

    def _delete(self, item_ids: Sequence[str]) -> None:
        if item_ids:
            with Client(self._url, key=self._key) as client:
                for item_id in item_ids:
                    client.delete_item(item_id)

    def _opened(self, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return call()
        except NoKey:
            if self._key:  # one that was given, and is not taken
                raise
        self._key = self._make_key()
        self._client.close()
        self._client = Client(self._url, key=self._key)
        return self._known(call)

    def _known(self, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A gateway knows a new key within a second."""
        import time

        for _ in range(20):
            try:
                return call()
            except NoKey:
                time.sleep(0.2)
        return call()


def is_later(error: NextclickError) -> bool:
    """Tell whether what the gateway said may be over the next time."""
    return isinstance(error, GatewayUnreachable) or (isinstance(error, GatewayRefused) and error.status in _LATER)
