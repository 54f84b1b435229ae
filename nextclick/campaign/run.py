"""A campaign from its audience to its file: begun or gone on with, picked by worker processes, put together, sent."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from campaigns.picks import fields_of
from campaigns.recipients import Recipient, Skip, once_each
from contracts.api import Placement
from contracts.clock import wall_clock_ms
from contracts.errors import NextclickError, OutputRefused, SettingsError
from contracts.keys import SCENARIOS
from contracts.outputs import expect_outputs
from contracts.settings import ServiceSettings
from nextclick.campaign.audience import expect_readable, recipients_in, stored_users, users_in
from nextclick.campaign.deliver import Webhook, deliver
from nextclick.campaign.output import kind_of, written
from nextclick.campaign.work import Plan, Wanted, Work
from nextclick.campaign.worker import NICENESS
from state.campaign_files import CampaignFiles
from state.documents import DocumentStore
from state.launch import LogFile, launch
from state.users import UserStore

LOOK_S: Final = 0.2
_DIGESTED: Final = 1 << 20

Show = Callable[[int, int], None]
"""Told how many users of how many are done."""


class WorkerEnded(NextclickError):
    """A process of the run ended before its work did."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be run, and how. `audience` None: every user who has a document."""

    out: Path
    wanted: Wanted
    audience: Path | None = None
    suppress: Sequence[Path] = ()
    workers: int = 2
    niceness: int = 19
    artifacts: str = ""
    fresh: bool = False
    webhook: Webhook | None = None

    @property
    def folder(self) -> Path:
        return self.out.with_name(f"{self.out.name}.work")


@dataclass(slots=True)
class Summary:
    """What a run came to."""

    users: int = 0
    picked: int = 0
    items: int = 0
    resumed: bool = False
    batches: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)


def run(asked: Run, settings: ServiceSettings, show: Show, told: Callable[[str], None]) -> Summary:
    """Run a campaign to its end, or go on with one. Raises NextclickError; what was done by then is kept."""
    _expect(asked)
    _expect_scenario(asked.wanted.scenario, settings)
    work = Work(asked.folder)
    work.plan()  # is it ours to write into?
    with closing(CampaignFiles(settings.redis)) as files:
        files.note(asked.out, wall_clock_ms())  # before anything is written: an erasure has to find it
    with work.held():
        return _run(asked, work, settings, show, told)


def _run(asked: Run, work: Work, settings: ServiceSettings, show: Show, told: Callable[[str], None]) -> Summary:
    wanted = _with_sources(asked)
    plan = None if asked.fresh else work.plan()
    resumed = plan is not None
    if plan is not None and plan.wanted != wanted:
        raise OutputRefused(
            f"{work.folder}: a run with {_difference(plan.wanted, wanted)} was begun there and is not done: give the "
            "same to go on with it, or --fresh to begin anew"
        )
    if plan is None:
        work.empty()
        plan = work.begin(wanted, wall_clock_ms(), _recipients(asked, settings, told))
    _pick(asked, work, plan, show)
    found = _put_together(asked, work, plan)
    found.resumed = resumed
    if asked.webhook is not None:
        found.batches = deliver(work, plan, asked.webhook)
    shutil.rmtree(work.folder)
    return found


def _expect(asked: Run) -> None:
    """Refuse what cannot go well, before anything is begun."""
    inputs = [asked.audience, *asked.suppress]
    for path in inputs:
        if path is not None:
            expect_readable(path)
    expect_outputs((asked.out, kind_of(asked.out)), inputs=inputs)
    if asked.audience is None and asked.wanted.filter is None:
        raise SettingsError("expected --audience FILE, --where FILTER, or both: whom is it for?")
    if asked.webhook is not None:
        asked.webhook.expect_usable()


def _expect_scenario(name: str, settings: ServiceSettings) -> None:
    """Refuse a scenario that there is not, before processes are started for it. Raises SettingsError."""
    placements = [one.value for one in Placement]
    if name in placements:
        return
    with closing(DocumentStore(settings.redis, SCENARIOS)) as store:
        if not store.versions(name):
            raise SettingsError(
                f"--scenario: there is no scenario {name[:100]!r}; there are {', '.join(placements)}, and those that "
                "you published (nextclick scenario list)"
            )


def _with_sources(asked: Run) -> Wanted:
    """Return what is wanted, with what it is read from."""
    sources = {} if asked.audience is None else {"audience": _digest(asked.audience)}
    sources |= {f"suppress {at}": _digest(path) for at, path in enumerate(asked.suppress)}
    return msgspec.structs.replace(asked.wanted, sources=sources)


def _digest(path: Path) -> str:
    told = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_DIGESTED):
            told.update(part)
    return told.hexdigest()[:32]


def _difference(was: Wanted, now: Wanted) -> str:
    names = [name for name in Wanted.__struct_fields__ if getattr(was, name) != getattr(now, name)]
    return f"another {', '.join(names)}"


def _recipients(asked: Run, settings: ServiceSettings, told: Callable[[str], None]) -> Iterator[Recipient | Skip]:
    suppressed = frozenset(chain.from_iterable(users_in(path) for path in asked.suppress))
    if asked.audience is not None:
        yield from once_each(recipients_in(asked.audience, told), suppressed)
        return
    with closing(UserStore(settings.redis, partitions=settings.log.partitions)) as users:
        yield from once_each(stored_users(users.user_ids()), suppressed)


def _pick(asked: Run, work: Work, plan: Plan, show: Show) -> None:
    """Have worker processes make the parts that are missing. Raises WorkerEnded."""
    missing = plan.parts - work.done()
    if not missing:
        return
    with _workers(asked, work, min(asked.workers, missing)) as workers:
        while any(one.poll() is None for one, _ in workers):
            show(min(plan.users, work.done() * plan.wanted.batch), plan.users)
            _expect_alive(workers)
            time.sleep(LOOK_S)
    _expect_alive(workers)
    show(plan.users, plan.users)
    if work.done() < plan.parts:
        raise WorkerEnded(f"{work.folder}: expected {plan.parts:,} parts, got {work.done():,}: run it again")


Started = list[tuple["subprocess.Popen[bytes]", LogFile]]


@contextmanager
def _workers(asked: Run, work: Work, count: int) -> Iterator[Started]:
    """Start workers; they end with the run, however it ends."""
    own = {NICENESS: str(asked.niceness), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if asked.artifacts:
        own["NEXTCLICK_ARTIFACTS"] = str(Path(asked.artifacts).absolute())
    started: Started = []
    try:
        for number in range(count):
            log = LogFile(work.folder / f"worker-{number}.log")
            command = [sys.executable, "-m", "nextclick.campaign.worker", str(work.folder), str(number), str(count)]
            started.append((launch(command, log, env={**os.environ, **own}), log))
        yield started
    finally:
        for one, _ in started:
            one.terminate()
        for one, _ in started:
            one.wait()


def _expect_alive(workers: Started) -> None:
    for one, log in workers:
        if one.poll():
            said = " ".join(log.tail(600).split())
            raise WorkerEnded(
                f"a process that picks ended (status {one.returncode}): {said}. What was picked by then is kept: mend "
                "that, and run the same again"
            )


def _put_together(asked: Run, work: Work, plan: Plan) -> Summary:
    """Write the picks of all parts to the output, in the order of the audience."""
    found = Summary(users=plan.users + sum(plan.skipped.values()))
    found.skipped.update(plan.skipped)
    with written(asked.out, fields_of(plan.wanted.fields)) as write:
        for head, picks in work.picks(plan):
            write(picks)
            found.picked += head.picked
            found.items += head.items
            found.skipped.update(head.skipped)
            found.degraded.update(head.degraded)
    return found
