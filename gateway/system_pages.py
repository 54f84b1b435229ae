"""GET /api/system: is all of it there and well: processes, flows, Redis, the index, the log, dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from contracts.errors import LogUnavailable, StateUnavailable
from contracts.settings import LogSettings, RedisSettings
from eventlog.letter_choice import Choice, chosen
from eventlog.open_log import open_dead_letters
from gateway.dead_letters import READING
from gateway.health import get_readyz
from gateway.keys import CLOCK, LAG, SETTINGS
from gateway.live import LIVE
from gateway.log_ends import log_ends
from gateway.metrics import METRICS, Metrics
from gateway.problems import Refused
from gateway.wire import json_response
from state.presence import SILENT_MS, Process
from state.read_progress import READERS

INDEX: Final = (
    *("index_items", "index_base_items", "index_delta_items", "index_superseded", "index_tombstone_share"),
    *("index_recall", "index_orphaned_share", "index_newest_item_age_seconds", "index_swaps", "index_refused"),
)
LETTERS_EVERY_MS: Final = 30_000
"""Dead letters are counted anew at most so often: all of them are read for that."""
_INFO: Final = {
    "version": b"redis_version",
    "uptime_s": b"uptime_in_seconds",
    "used_bytes": b"used_memory",
    "most_bytes": b"maxmemory",
    "evicted": b"evicted_keys",
    "clients": b"connected_clients",
    "append_only": b"aof_enabled",
    "saved_well": b"rdb_last_bgsave_status",
    "appended_well": b"aof_last_write_status",
    "saved_s": b"rdb_last_save_time",
}


class SystemProcess(BaseModel):
    kind: str
    pid: int
    host: str
    started_ms: int
    at_ms: int
    version: str
    serves: dict[str, str]
    alive: bool = Field(description="It said so within the last 20 seconds; one that ended by itself is not listed.")


class FlowLag(BaseModel):
    """Records that a flow has not read of a topic; null while that is not known."""

    flow: str
    topic: str
    behind: int | None
    lost: int = Field(description="Records that the log had trimmed before the flow read them.")


class RedisFacts(BaseModel):
    """As Redis says; null while it does not answer."""

    answers: bool
    takes_writes: bool | None
    why: str | None
    keys: int | None = None
    version: str | None = None
    uptime_s: int | None = None
    used_bytes: int | None = None
    most_bytes: int | None = Field(default=None, description="0: no bound.")
    evicted: int | None = None
    clients: int | None = None
    append_only: bool | None = None
    saved_well: bool | None = None
    appended_well: bool | None = None
    saved_s: int | None = Field(default=None, description="Epoch seconds of the last snapshot file.")


class LetterCounts(BaseModel):
    """Dead letters that are kept; null while they cannot be read."""

    counted_ms: int
    by_reason: dict[str, int]
    newest_ms: int | None


class SystemAnswer(BaseModel):
    at_ms: int
    ready: bool
    why_not: str | None
    tables: dict[str, Any]
    log: str = Field(description="redis or kafka.")
    processes: list[SystemProcess]
    flows: list[FlowLag]
    redis: RedisFacts
    index: dict[str, float | None] = Field(description="Of the process that answers.")
    log_bytes: dict[str, float | None]
    dead_letters: LetterCounts | None


LETTERS = web.AppKey("counted dead letters", dict[str, Any])
"""What was counted last."""


async def get_system(request: web.Request) -> web.Response:
    """Show how the whole deployment does. What cannot be asked now is null: it answers whatever is away."""
    app = request.app
    now_ms = app[CLOCK]()
    ready = await _ready(request)
    await app[LAG].measure()
    processes = await _or_none(app[LIVE].processes()) or []
    letters = await _letters(app, now_ms)
    answer = {
        "at_ms": now_ms,
        **ready,
        "log": app[SETTINGS].log.kind,
        "processes": [_process(one, now_ms) for one in processes],
        "flows": await _flows(app),
        "redis": await _redis(app),
        "index": _index(app[METRICS]),
        "log_bytes": {name: _known(value) for name, value in app[LAG].log_bytes.items()},
        "dead_letters": letters,
    }
    return json_response(answer)


async def _or_none(asked: Any) -> Any:
    try:
        return await asked
    except (StateUnavailable, TimeoutError):
        return None


async def _ready(request: web.Request) -> dict[str, Any]:
    try:
        said = orjson.loads((await get_readyz(request)).text or "{}")
        return {"ready": True, "why_not": None, "tables": said["tables"]}
    except Refused as refused:
        return {"ready": False, "why_not": refused.detail, "tables": refused.members.get("tables", {})}


def _process(one: Process, now_ms: int) -> dict[str, Any]:
    said = one.model_dump(exclude={"newest_clicks"})
    return {**said, "alive": now_ms - one.at_ms <= SILENT_MS}


async def _flows(app: web.Application) -> list[dict[str, Any]]:
    """Return lags of the flows that have read anything."""
    told = await _or_none(app[LAG].told())
    if told is None:
        return []
    ends = await log_ends(app)
    rows = []
    for flow, topic in READERS:
        reached = {at[2]: n for at, n in told.reached.items() if at[:2] == (flow, str(topic))}
        lost = told.lost[flow, str(topic)]
        if reached or lost:
            behind = None if ends is None else _behind(ends[str(topic)], reached)
            rows.append({"flow": flow, "topic": str(topic), "behind": behind, "lost": lost})
    return rows


def _behind(ends: Sequence[int], reached: Mapping[int, int]) -> int:
    return sum(max(0, end - reached.get(partition, 0)) for partition, end in enumerate(ends))


async def _redis(app: web.Application) -> dict[str, Any]:
    answers = await _or_none(app[LIVE].ask([("INFO",), ("DBSIZE",)]))
    lag = app[LAG]
    if answers is None or not isinstance(answers[0], bytes):
        return RedisFacts(answers=answers is not None, takes_writes=lag.takes_writes, why=lag.refusal).model_dump()
    lines = dict(line.split(b":", 1) for line in answers[0].splitlines() if b":" in line)
    said: dict[str, Any] = {name: lines.get(key, b"").strip().decode(errors="replace") for name, key in _INFO.items()}
    for name in ("uptime_s", "used_bytes", "most_bytes", "evicted", "clients", "saved_s"):
        said[name] = int(said[name]) if said[name].isdecimal() else None
    for name, well in (("append_only", "1"), ("saved_well", "ok"), ("appended_well", "ok")):
        said[name] = said[name] == well if said[name] else None
    facts = RedisFacts(answers=True, takes_writes=lag.takes_writes, why=lag.refusal, keys=answers[1], **said)
    return facts.model_dump()


def _index(metrics: Metrics) -> dict[str, float | None]:
    values = {name: value for name, _, labels, value in (*metrics.gauges, *metrics.totals) if not labels}
    return {name.removeprefix("index_"): _known(values[name]()) for name in INDEX if name in values}


def _known(value: float) -> float | None:
    return value if isfinite(value) else None


async def _letters(app: web.Application, now_ms: int) -> dict[str, Any] | None:
    """Count dead letters, unless that was done lately or somebody reads them now."""
    last = app[LETTERS]
    if app[READING].locked() or now_ms - last.get("counted_ms", -LETTERS_EVERY_MS) < LETTERS_EVERY_MS:
        return last or None
    async with app[READING]:
        try:
            found = await asyncio.to_thread(_counted, app[SETTINGS].log, app[SETTINGS].redis)
        except (LogUnavailable, StateUnavailable):
            return last or None
    last.update({"counted_ms": now_ms, **found})
    return dict(last)


def _counted(log: LogSettings, redis: RedisSettings) -> dict[str, Any]:
    counts: dict[str, int] = {}
    newest_ms: int | None = None
    reader = open_dead_letters(log, redis)
    try:
        for one in chosen(reader, Choice()):
            counts[one.letter.reason] = counts.get(one.letter.reason, 0) + 1
            newest_ms = max(newest_ms or 0, one.letter.at_ms)
    finally:
        reader.close()
    return {"by_reason": dict(sorted(counts.items(), key=lambda one: -one[1])), "newest_ms": newest_ms}
