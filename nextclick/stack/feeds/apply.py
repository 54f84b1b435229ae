"""Applies staged changes through the gateway's catalogue API, at a pace that leaves it room."""

from __future__ import annotations

import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from connect.feeds.judged import Pace, pace_of, pause_s
from connect.feeds.rows import Fault
from contracts.errors import NextclickError
from contracts.feed_settings import FeedOptions
from contracts.items import UNLIMITED_STOCK
from nextclick.stack.client import Client, GatewayRefused, GatewayUnreachable, NoKey
from nextclick.stack.feeds.store import FeedStore, Staged

PATIENCE: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between tries while the gateway takes nothing. After that the pull ends, and the next one goes on."""
ASKED_LAST: Final = 4
"""Answers of a gateway, the last, that say how much it is asked for."""
MOST_UNSEEN: Final = 2000
"""Changes that may be on their way: after so many a pull waits until recommendations see them."""
_LATER: Final = frozenset((408, 425, 429, 500, 502, 503, 504))


class Door(Protocol):
    """What takes changes: the gateway's client."""

    @property
    def asked_per_s(self) -> float | None:
        """Recommendations a second that the process which answered last is asked for; None where that is not known."""

    def put_items(self, lines: Sequence[bytes], *, wait: bool) -> dict[str, Any]: ...
    def set_stock(self, stock: dict[str, int]) -> dict[str, Any]: ...
    def delete_items(self, item_ids: Sequence[str], *, wait: bool) -> None: ...


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
    store: FeedStore,
    door: Door,
    options: FeedOptions,
    timing: Timing,
    elsewhere: Sequence[Path],
    applied: Applied,
    show: Callable[[], None] = lambda: None,
) -> None:
    """Apply all that is staged; `show` is called after each batch. Raises GatewayRefused or GatewayUnreachable where
    the gateway takes nothing for a while: what was taken is in `applied` and noted, the rest stays staged.
    """
    busy = Pace(options.batch, options.most_per_s, options.busy_share)
    quiet = Pace(max(options.batch, options.quiet_batch), max(options.most_per_s, options.quiet_per_s), 1.0)
    pace, said, unseen = busy, deque[float | None](maxlen=ASKED_LAST), 0
    while found := store.staged(pace.batch + 1):
        batch, is_last = found[: pace.batch], len(found) <= pace.batch
        began = timing.monotonic()
        skipped = named_elsewhere(elsewhere, batch)
        sent = [one for one in batch if one.item_id not in skipped]
        unseen += len(batch)
        wait = is_last or unseen >= MOST_UNSEEN
        refused = _patiently(partial(_send, door, sent, wait=wait), timing) if sent else {}
        unseen = 0 if wait else unseen
        took_s = timing.monotonic() - began
        store.applied(batch, refused)
        applied.counts[batch[0].op] += len(sent) - len(refused)
        applied.refusals += len(refused)
        for item_id, reason in refused.items():
            if len(applied.refused) < options.report:
                applied.refused.append(Fault(0, f"the gateway refused it: {reason}", item_id))
        show()
        said.append(door.asked_per_s)
        pace = pace_of(said, busy, quiet)
        if not is_last or pace is busy:
            timing.sleep(pause_s(len(batch), took_s, pace.most_per_s, pace.share))


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


def _send(door: Door, batch: Sequence[Staged], *, wait: bool) -> dict[str, str]:
    """Send changes of one kind; returns those that were refused, with the reason. `wait`: until recommendations see
    them. Stock always is: only then the gateway knows which items it has not.
    """
    match batch[0].op:
        case "delete":
            door.delete_items([one.item_id for one in batch], wait=wait)
            return {}
        case "stock":
            unlimited = UNLIMITED_STOCK
            answer = door.set_stock({one.item_id: unlimited if one.stock is None else one.stock for one in batch})
        case "put":
            try:
                answer = door.put_items([one.document for one in batch], wait=wait)
            except GatewayRefused as error:
                if error.status != 413 or len(batch) == 1:
                    raise
                half = len(batch) // 2
                return {**_send(door, batch[:half], wait=wait), **_send(door, batch[half:], wait=wait)}
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

    def __init__(self, url: str, key: str, make_key: Callable[[], str]) -> None:
        self._url, self._make_key = url, make_key
        self._key = key
        self._client = Client(url, key=key)

    @property
    def asked_per_s(self) -> float | None:
        return self._client.asked_per_s

    def put_items(self, lines: Sequence[bytes], *, wait: bool = True) -> dict[str, Any]:
        self._client.close()  # another connection may lead to another process of the gateway, and each tells of itself
        return self._opened(lambda: self._client.put_items(lines, wait=wait))

    def set_stock(self, stock: dict[str, int]) -> dict[str, Any]:
        self._client.close()
        return self._opened(lambda: self._client.set_stock(stock))

    def delete_items(self, item_ids: Sequence[str], *, wait: bool = True) -> None:
        """Delete items one by one. `wait`: the last answer waits until recommendations no longer show its item; the
        others follow within a moment.
        """
        self._client.close()
        for item_id in item_ids[:-1]:
            self._opened(partial(self._deleted, item_id, wait=False))
        self._opened(partial(self._deleted, item_ids[-1], wait=wait))

    def close(self) -> None:
        self._client.close()

    def _deleted(self, item_id: str, *, wait: bool) -> dict[str, Any]:
        return self._client.delete_item(item_id, wait=wait)

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
