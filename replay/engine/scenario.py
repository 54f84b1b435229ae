"""What is done to a stack while a recording plays: a scenario file, and the timeline that follows from it. Pure.

A scenario is TOML: a name, what the stack is made of, and the faults.

    name = "A bad afternoon"

    [stack]
    session_workers = 2

    [[fault]]
    at_s = 10
    do = "kill"
    what = "sessions"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from contracts.errors import SettingsError
from contracts.toml import toml_of
from replay.engine.schedule import clicked_item


class Part(StrEnum):
    """A part of the stack that something can be done to."""

    SESSIONS = "sessions"
    ITEMS = "items"
    TRENDS = "trends"
    GATEWAY = "gateway"
    REDIS = "redis"
    BROKER = "broker"
    """What holds the event log: Redis, or the Kafka broker."""


class Fault(BaseModel):
    """One thing that is done. Times are seconds after the first event is due."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_s: float = Field(ge=0)
    do: Literal["kill", "stop", "restart", "swap", "stock"]
    """kill: as a crash does; what supervises it starts it again. stop: hold it still for `for_s`. restart: ask it to
    end, and have it started again. swap: build a new index and have the gateways take it up. stock: set the stock of
    the most clicked items.
    """
    what: Part | None = None
    for_s: float = Field(default=0.0, ge=0)
    top: int = Field(default=100, ge=1, le=1000)
    stock: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _is_whole(self) -> Fault:
        if self.do in ("kill", "stop", "restart") and self.what is None:
            raise ValueError(f"{self.do} needs a 'what': {', '.join(Part)}")
        if self.do == "stop" and self.for_s <= 0:
            raise ValueError("stop needs 'for_s', seconds above 0")
        if self.do == "restart" and self.what in (Part.REDIS, Part.BROKER):
            raise ValueError(f"expected kill or stop for the {self.what}, got restart")
        return self

    @property
    def name(self) -> str:
        """What people call it."""
        if self.do == "stock":
            return f"stock of the top {self.top} set to {self.stock}"
        if self.do == "swap":
            return "swap the index"
        return f"{self.do} {self.what}" + (f" for {self.for_s:g} s" if self.do == "stop" else "")


class StackPlan(BaseModel):
    """What the stack is made of. `catalogue_from_clicks` fills the catalogue when no items file is loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gateways: int = Field(default=1, ge=1, le=16)
    session_workers: int = Field(default=1, ge=1, le=16)
    catalogue_from_clicks: bool = True


class Scenario(BaseModel):
    """A named list of faults, and the stack that they happen to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    stack: StackPlan = StackPlan()
    fault: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """A point of the timeline: a fault begins, or (`ends`) what it held still goes on."""

    at_s: float
    fault: Fault
    number: int
    ends: bool = False


def read_scenario(path: Path) -> Scenario:
    """Read a scenario file. Raises SettingsError that names what is wrong and where."""
    try:
        document = toml_of(path.read_text(encoding="utf-8-sig"))
        return Scenario.model_validate(document)
    except OSError as error:
        raise SettingsError(f"{path}: expected a scenario file ({error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected TOML: {error}") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part + 1) if isinstance(part, int) else part for part in problem["loc"])
        raise SettingsError(f"{path}: {where or 'scenario'}: {problem['msg']}") from error


def timeline(scenario: Scenario) -> list[Moment]:
    """Return when what is done, in order of time; a stop has an end. Faults count from 1 as the file lists them."""
    found = []
    for number, fault in enumerate(scenario.fault, start=1):
        found.append(Moment(fault.at_s, fault, number))
        if fault.do == "stop":
            found.append(Moment(fault.at_s + fault.for_s, fault, number, ends=True))
    return sorted(found, key=lambda moment: moment.at_s)


def most_clicked(recorded: Iterable[bytes], top: int) -> list[str]:
    """Return the most clicked items of a recording, most clicked first; of equals the one that came first."""
    counts: dict[str, int] = {}
    for raw in recorded:
        item = clicked_item(orjson.loads(raw))
        if item is not None:
            counts[item] = counts.get(item, 0) + 1
    return sorted(counts, key=lambda item: -counts[item])[:top]
