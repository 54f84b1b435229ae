"""Which processes of a deployment are there: each says so in Redis every few seconds, and what it is.

One that ends by itself takes its line away. One that was killed is seen to be silent, for as long as its line is kept.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from typing import Annotated, Final

import orjson
from pydantic import BaseModel, Field, ValidationError
from redis import Redis

from contracts.errors import StateUnavailable
from contracts.formats import NewerFormat, expect_mark, marked
from contracts.keys import Keys
from contracts.redis_answers import is_other_kind
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated

EVERY_S: Final = 5.0
SILENT_MS: Final = 20_000
"""A process that said nothing for so long does not answer."""
KEPT_MS: Final = 600_000
"""How long a silent one is remembered."""
MOST: Final = 500
"""Lines that are looked at."""


Whole = Annotated[int, Field(ge=0, le=2**53)]


class Process(BaseModel):
    """What a process says of itself. Times are epoch milliseconds."""

    kind: str = Field(max_length=40, description="gateway, index, index-shard-0, judge, or the name of a flow.")
    pid: Whole
    host: str = Field(max_length=200)
    started_ms: Whole
    at_ms: Whole = Field(description="When it said so last.")
    version: str = Field(default="", max_length=60, description="Of the code.")
    serves: dict[str, str] = Field(default={}, description="The models that it serves with.")
    newest_clicks: dict[Whole, Whole] = Field(
        default={}, description="By partition: the newest click that it appended."
    )

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.host}:{self.pid}"

    def encoded(self) -> bytes:
        return orjson.dumps(marked("process", self.model_dump(mode="json")))


def this_process(kind: str, now_ms: int) -> Process:
    """Return what is known of the process that asks."""
    return Process(
        kind=kind,
        pid=os.getpid(),
        host=socket.gethostname()[:200],
        started_ms=now_ms,
        at_ms=now_ms,
        version=code_version(),
    )


def code_version() -> str:
    """Return the version of the code; empty where it is not installed as a package."""
    try:
        return metadata.version("nextclick")[:60]
    except metadata.PackageNotFoundError:
        return ""


def processes_of(lines: Mapping[bytes, bytes], now_ms: int) -> tuple[list[Process], list[bytes]]:
    """Return the processes that are or were there, by kind and start; and the names of lines to be taken away."""
    found: list[Process] = []
    old: list[bytes] = []
    for name, line in list(lines.items())[:MOST]:
        try:
            expect_mark("process", orjson.loads(line))
            process = Process.model_validate_json(line)
        except NewerFormat:
            continue
        except (ValidationError, orjson.JSONDecodeError):
            old.append(name)
            continue
        (old.append(name) if abs(now_ms - process.at_ms) > KEPT_MS else found.append(process))  # by no clock here
    gone = [one for one in found if _is_succeeded(one, found, now_ms)]
    old += [one.name.encode() for one in gone]
    there = [one for one in found if one not in gone]
    return sorted(there, key=lambda one: (one.kind, one.started_ms, one.pid)), old


def _is_succeeded(one: Process, among: list[Process], now_ms: int) -> bool:
    """Tell whether a process is silent, and another of its kind was started on its host since: it was restarted."""
    return now_ms - one.at_ms > SILENT_MS and any(
        other.kind == one.kind and other.host == one.host and other.started_ms > one.at_ms for other in among
    )


def announce(settings: RedisSettings, kind: str) -> threading.Event:
    """Have a thread say that this process is there, until it ends or the event is set. Raises nothing: while Redis
    does not answer, nothing is said.
    """
    stopped = threading.Event()
    threading.Thread(target=_say, args=(settings, kind, stopped), name="presence", daemon=True).start()
    return stopped


def _say(settings: RedisSettings, kind: str, stopped: threading.Event) -> None:
    redis, key = connect(settings), Keys(settings.prefix).processes()
    own = this_process(kind, time.time_ns() // 1_000_000)
    while True:
        said = own.model_copy(update={"at_ms": time.time_ns() // 1_000_000})
        with suppress(StateUnavailable), redis_errors_translated(settings):
            _put(redis, key, said)
        if stopped.wait(EVERY_S):
            break
    with suppress(StateUnavailable), redis_errors_translated(settings):
        redis.hdel(key, own.name)
    redis.close()


def _put(redis: Redis, key: str, process: Process) -> None:
    """Put a line down. A key that holds another kind of thing goes: nobody of ours wrote that."""
    for _ in range(2):
        pipe = redis.pipeline(transaction=False)
        pipe.hset(key, process.name, process.encoded())
        pipe.pexpire(key, KEPT_MS)
        if not is_other_kind(pipe.execute(raise_on_error=False)[0]):
            return
        redis.delete(key)
