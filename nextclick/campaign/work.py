"""The work of a run on disk, so that one that was killed goes on: what is asked, of whom, and what was picked so far.

A batch of users is a part: a file that is there whole or not at all. Whoever has a part done is never asked again, and
a run is done when all parts are there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from campaigns.recipients import ConsentRule, Recipient, Skip
from contracts.errors import OutputRefused
from contracts.outputs import FolderKind, expect_replaceable

_PLAN: Final = "plan.json"
_AUDIENCE: Final = "audience.jsonl"
_PARTS: Final = "parts"
_DELIVERED: Final = "delivered"
_LOCK: Final = "lock"
FORMAT: Final = "nextclick campaign 1"


class Wanted(msgspec.Struct, frozen=True):
    """What a command asks for: two that ask for the same may go on with each other's work. `sources`: what is read, by
    name, with a digest. `within_s`: the period of the cap; `most` 0: there is none.
    """

    campaign: str
    scenario: str
    limit: int
    fields: tuple[str, ...]
    filter: str | None
    consent: ConsentRule
    most: int
    within_s: float
    impressions: bool
    batch: int
    sources: dict[str, str] = {}


class Plan(msgspec.Struct, frozen=True):
    """A run that was begun: `at_ms` is its moment, `users` how many are to be asked, `skipped` who never was."""

    format: str
    wanted: Wanted
    at_ms: int
    users: int
    skipped: dict[str, int]

    @property
    def parts(self) -> int:
        return -(-self.users // self.wanted.batch)


class Head(msgspec.Struct, frozen=True):
    """What a part came to: its users, how many were picked for, and why the others were not."""

    users: int
    picked: int
    items: int
    skipped: dict[str, int]
    degraded: dict[str, int]


def _owns(folder: Path) -> frozenset[str] | None:
    names = frozenset((_PLAN, _AUDIENCE, _PARTS, _DELIVERED, _LOCK, *(one.name for one in folder.glob("*.log*"))))
    aside = frozenset(one.name for one in folder.glob("*.aside"))
    return names | aside if (folder / _LOCK).is_file() else None


KIND: Final = FolderKind("the work of a campaign", _owns)


class Work:
    """The folder of a run, and its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plan(self) -> Plan | None:
        """Return what was begun here; None where nothing was, or it was killed before its audience was written.

        Raises OutputRefused for a folder of something else.
        """
        expect_replaceable(self.folder, KIND)
        try:
            found = msgspec.json.decode((self.folder / _PLAN).read_bytes(), type=Plan)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise OutputRefused(f"{self.folder / _PLAN}: expected the plan of a campaign: {error}") from error
        if found.format != FORMAT:
            raise OutputRefused(f"{self.folder / _PLAN}: expected {FORMAT!r}, got {found.format!r}: give --fresh")
        return found

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from this folder meanwhile. Raises OutputRefused where somebody else is at work in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / _LOCK, "wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputRefused(f"{self.folder}: another run is at work there: wait for it, or end it") from error
            yield

    def empty(self) -> None:
        """Take away what an earlier run left."""
        for name in (_PLAN, _AUDIENCE, _DELIVERED):  # the plan first: without it nothing else counts
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / _PARTS, ignore_errors=True)

    def begin(self, wanted: Wanted, at_ms: int, recipients: Iterable[Recipient | Skip]) -> Plan:
        """Write down whom to ask; the plan comes last, and says that it is all there."""
        (self.folder / _PARTS).mkdir(parents=True, exist_ok=True)
        users, skipped = 0, Counter[str]()
        with open(self.folder / _AUDIENCE, "wb", opener=_for_us_alone) as file:
            for one in recipients:
                if isinstance(one, Skip):
                    skipped[one] += 1
                else:
                    file.write(orjson.dumps([*one]) + b"\n")
                    users += 1
            file.flush()
            os.fsync(file.fileno())
        plan = Plan(FORMAT, wanted, at_ms, users, dict(skipped))
        put(self.folder / _PLAN, msgspec.json.encode(plan))
        return plan

    def batches(self, plan: Plan, worker: int, workers: int) -> Iterator[tuple[int, list[Recipient]]]:
        """Yield the parts of one of several workers that are not done, with their users."""
        with (self.folder / _AUDIENCE).open("rb") as file:
            for number in range(plan.parts):
                lines = list(islice(file, plan.wanted.batch))
                if number % workers == worker and not self._part(number).exists():
                    yield number, [Recipient(*orjson.loads(line)) for line in lines]

    def done(self) -> int:
        """Return how many parts are done."""
        return sum(one.name.endswith(".jsonl") for one in os.scandir(self.folder / _PARTS))

    def put_part(self, number: int, picks: Sequence[Mapping[str, Any] | Skip], degraded: Mapping[str, int]) -> None:
        """Write a part, whole."""
        given = [one for one in picks if not isinstance(one, Skip)]
        skipped = Counter(one.value for one in picks if isinstance(one, Skip))
        items = sum(len(one["items"]) for one in given)
        head = Head(len(picks), len(given), items, dict(skipped), dict(degraded))
        lines = (msgspec.json.encode(head), *map(orjson.dumps, given))
        put(self._part(number), b"\n".join(lines) + b"\n")

    def picks(self, plan: Plan) -> Iterator[tuple[Head, list[bytes]]]:
        """Yield all parts in order: what each came to, and its picks as JSON."""
        for number in range(plan.parts):
            head, *lines = self._part(number).read_bytes().splitlines()
            yield msgspec.json.decode(head, type=Head), lines

    @property
    def delivered(self) -> int:
        """How many batches of picks the webhook took."""
        file = self.folder / _DELIVERED
        return int(file.read_bytes()) if file.exists() else 0

    @delivered.setter
    def delivered(self, batches: int) -> None:
        put(self.folder / _DELIVERED, b"%d" % batches)

    def _part(self, number: int) -> Path:
        return self.folder / _PARTS / f"{number:06d}.jsonl"


def put(file: Path, content: bytes) -> None:
    """Write a file aside, then in its place."""
    aside = file.with_name(f"{file.name}.{os.getpid()}.aside")
    with open(aside, "wb", opener=_for_us_alone) as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(aside, file)


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # it says who the users are
