"""What the items and the profiles flow leave for webhooks: what happened to items, and who waits for which. Nothing is
made where `webhooks.url` is empty.

Both are written before the flow's own commit: a worker that dies in between writes them again, under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from campaigns.delivery import idempotency_key
from campaigns.interest import changed, happened, item_shown, waiting_for
from contracts.formats import marked
from contracts.ids import ItemKey, item_key
from contracts.items import CatalogueRow
from contracts.keys import WEBHOOKS
from contracts.profiles import Profile
from contracts.settings import ServiceSettings
from flows.item_steps import ChangedRows, DecodedChanges, Rows
from state.due_calls import DueCalls
from state.interest import InterestStore

Named = tuple[str, bytes]
WatchItems = Callable[[DecodedChanges, Rows, ChangedRows, int], None]
WatchProfiles = Callable[[Mapping[str, Profile | None], Mapping[str, Profile]], None]


def watch_items(settings: ServiceSettings) -> WatchItems | None:
    """Return what queues price drops and items back in stock; None where nobody wants to know."""
    options = settings.webhooks
    if not options.on:
        return None
    queue = DueCalls(settings.redis, WEBHOOKS, most=options.max_waiting)

    def watch(decoded: DecodedChanges, known: Rows, now: ChangedRows, now_ms: int) -> None:
        found = what_happened(decoded, known, now.rows, options.price_drop, now_ms)
        if found:
            queue.put(found, now_ms)

    return watch


def what_happened(
    decoded: DecodedChanges,
    known: Rows,
    now: Mapping[ItemKey, CatalogueRow | None],
    price_drop: float,
    now_ms: int,
) -> list[Named]:
    """Return what a batch of changes did to items, as calls to be made of it. The name of one is made of the log record
    that did it: read again, it has the same.
    """
    offsets = {item_key(change.item_id): offset for offset, change in decoded.changes}
    place = f"{decoded.batch.topic}:{decoded.batch.partition}"
    found: list[Named] = []
    for key, row in now.items():
        for one in happened(known.get(key), row, price_drop):
            assert row is not None
            where = f"{place}:{offsets[key]}"
            name = idempotency_key(one.kind, row.item_id, where, repr(one.before), repr(one.now))
            told = {"kind": one.kind, "before": one.before, "now": one.now, "at_ms": now_ms, "item": item_shown(row)}
            found.append((name, orjson.dumps(marked("happened", told))))
    return found


def watch_profiles(settings: ServiceSettings) -> WatchProfiles | None:
    """Return what notes who waits for which item; None where nobody wants to know."""
    options = settings.webhooks
    if not options.on:
        return None
    store = InterestStore(
        settings.redis, partitions=settings.log.partitions, most=options.max_users, keep_ms=options.keep_ms
    )

    def watch(before: Mapping[str, Profile | None], after: Mapping[str, Profile]) -> None:
        wait, gone = who_waits(before, after, options.max_items)
        if wait or gone:
            store.note(wait, gone)

    return watch


def who_waits(
    before: Mapping[str, Profile | None], after: Mapping[str, Profile], most: int
) -> tuple[dict[int, dict[str, int]], dict[int, list[str]]]:
    """Return by item who waits for it since these profiles changed (user to last click), and who does no more."""
    wait: dict[int, dict[str, int]] = {}
    gone: dict[int, list[str]] = {}
    for user_id, profile in after.items():
        was = before[user_id]
        held = {} if was is None else waiting_for(was.clicks, most)
        anew, over = changed(held, waiting_for(profile.clicks, most))
        for item, ts_ms in anew.items():
            wait.setdefault(item, {})[user_id] = ts_ms
        for item in over:
            gone.setdefault(item, []).append(user_id)
    return wait, gone
