"""Faults planted in a recording, so that what watches the data can be judged: pure streams of events, changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import orjson

from contracts.errors import ImportFormatError, SettingsError
from contracts.items import Item
from eventlog.files import counted_fields

HOUR_MS: Final = 3_600_000
FARM_CLICKS: Final = 20
"""Views of a session of a click farm."""
FARM_ITEMS: Final = 5
SILENT: Final = "silent-"


@dataclass(frozen=True, slots=True)
class Span:
    """When a fault holds, epoch milliseconds: from `first_ms` up to, not with, `end_ms`; `share` of the events then."""

    first_ms: int
    end_ms: int
    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SettingsError(f"--share: expected more than 0 and at most 1, got {self.share}")
        if self.first_ms >= self.end_ms:
            raise SettingsError("--from: expected a moment before --to, got one that is not")


@dataclass
class Planting:
    """One fault on its way through a recording. `planted` counts what was changed, added or dropped. Mutable."""

    span: Span
    rng: np.random.Generator
    farmed: tuple[str, ...] = ()
    planted: int = 0
    seen: dict[str, None] = field(default_factory=dict)
    pool: list[str] = field(default_factory=list)

    def see(self, item_ids: Iterable[str]) -> None:
        """Remember items: what clicks at random and click farms choose from."""
        for item_id in item_ids:
            if item_id not in self.seen:
                self.seen[item_id] = None
                self.pool.append(item_id)

    def drawn(self) -> str:
        return self.pool[int(self.rng.integers(len(self.pool)))]


Change = Callable[[dict[str, Any], Planting], list[bytes]]
"""Returns what is sent instead of an event that a fault was drawn for."""


def _dropped(fields: dict[str, Any], planting: Planting) -> list[bytes]:
    return []


def _twice(fields: dict[str, Any], planting: Planting) -> list[bytes]:
    return [orjson.dumps(fields)] * 2


def _moved(fields: dict[str, Any], planting: Planting, hours: tuple[int, int]) -> list[bytes]:
    by_ms = int(planting.rng.integers(hours[0] * HOUR_MS, hours[1] * HOUR_MS))
    return [orjson.dumps({**fields, "ts": max(fields["ts"] + by_ms, 0)})]


def _broken(fields: dict[str, Any], planting: Planting) -> list[bytes]:
    """Break an event in one of five ways: the reasons are not_json, invalid, unknown_version, invalid, invalid."""
    line = orjson.dumps(fields)
    ways = (
        line[: len(line) // 2],
        orjson.dumps({name: value for name, value in fields.items() if name not in ("item_id", "items")}),
        orjson.dumps({**fields, "v": 2}),
        orjson.dumps({**fields, "type": str(fields["type"]).upper()}),
        orjson.dumps({**fields, "ts": str(fields["ts"])}),
    )
    return [ways[int(planting.rng.integers(len(ways)))]]


def _at_random(fields: dict[str, Any], planting: Planting) -> list[bytes]:
    return [orjson.dumps({**fields, "item_id": planting.drawn()})]


def _farmed(fields: dict[str, Any], planting: Planting) -> list[bytes]:
    """Add a view of one of a few items, by a session that does nothing else."""
    if not planting.farmed:
        planting.farmed = tuple(planting.drawn() for _ in range(FARM_ITEMS))
    number = planting.planted
    item_id = planting.farmed[int(planting.rng.integers(len(planting.farmed)))]
    kept: dict[str, Any] = {name: fields[name] for name in ("v", "ts", "context") if name in fields}
    added: dict[str, Any] = {
        **kept,
        "event_id": f"farm-{fields['event_id']}"[:256],
        "type": "view",
        "session_id": f"farm-{planting.span.first_ms}-{number // FARM_CLICKS}",
        "item_id": item_id,
    }
    return [orjson.dumps(fields), orjson.dumps(added)]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault. `types` it happens to, none for all; `in_order` whether a recording keeps its order by time."""

    change: Change
    usual_share: float
    about: str
    types: tuple[str, ...] = ()
    in_order: bool = True


FAULTS: Final[Mapping[str, Fault]] = {
    "broken": Fault(_broken, 0.1, "events that cannot be read, in five ways", in_order=False),
    "duplicate": Fault(_twice, 0.3, "events are sent twice"),
    "late": Fault(partial(_moved, hours=(-6, -1)), 0.2, "events are one to six hours old", in_order=False),
    "future": Fault(partial(_moved, hours=(1, 24)), 0.05, "timestamps are 1 to 24 hours ahead", in_order=False),
    "random-clicks": Fault(_at_random, 0.8, "views are of items at random: a poisoned day", ("view",)),
    "click-farm": Fault(_farmed, 0.5, "for that share of the views one more, of one of 5 items", ("view",)),
}
ITEM_FAULTS: Final = {"no-price": "price", "no-picture": "image_url", "no-category": "category", "no-stock": "stock"}
"""Of a catalogue: which field items lose."""


def fault_of(name: str) -> Fault:
    """Return a fault of events by its name; `silent-TYPE` for every type. Raises SettingsError for another name."""
    if name.startswith(SILENT) and len(name) > len(SILENT):
        return Fault(_dropped, 1.0, "a tracker that went silent", (name.removeprefix(SILENT),))
    if name not in FAULTS:
        known = ", ".join((*FAULTS, f"{SILENT}TYPE", *ITEM_FAULTS))
        raise SettingsError(f"--fault: expected one of {known}, got {name!r}")
    return FAULTS[name]


def plant(lines: Iterable[bytes], fault: Fault, planting: Planting) -> Iterator[bytes]:
    """Yield a recording's lines with a fault planted. Lines that an earlier fault broke are handed on as they are."""
    span = planting.span
    for line in lines:
        try:
            fields = orjson.loads(line)
            ts_ms, _, items = counted_fields(fields)
        except ValueError:
            yield line
            continue
        planting.see(items)
        happens = span.first_ms <= ts_ms < span.end_ms and (not fault.types or fields.get("type") in fault.types)
        if not happens or planting.rng.random() >= span.share:
            yield line
            continue
        yield from fault.change(fields, planting)
        planting.planted += 1


def plant_in_items(
    items: Iterable[tuple[str, Item]], name: str, share: float, rng: np.random.Generator
) -> Iterator[tuple[str, Item]]:
    """Yield a catalogue in which a share of the items lost what `name`, of ITEM_FAULTS, says."""
    lost = {ITEM_FAULTS[name]: Item.model_fields[ITEM_FAULTS[name]].get_default()}
    for item_id, item in items:
        yield item_id, item.model_copy(update=lost) if rng.random() < share else item


def cut(lines: Iterable[bytes], first_ms: int, end_ms: int) -> Iterator[bytes]:
    """Yield the events of a recording in time order from `first_ms` up to, not with, `end_ms`.

    Raises ImportFormatError for a line that is no event.
    """
    for number, line in enumerate(lines, start=1):
        try:
            ts_ms, _, _ = counted_fields(orjson.loads(line))
        except ValueError as error:
            raise ImportFormatError(f"event {number}: {error}: cut first, then plant") from error
        if ts_ms >= end_ms:
            return
        if ts_ms >= first_ms:
            yield line
