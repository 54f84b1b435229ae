"""`python -m nextclick.stack.retraining`: trains new models every period, and publishes those that are not worse.

Every run is a process of its own (`nextclick retrain`), so nothing of it is held in memory between two. What goes
wrong is said and kept as the run's outcome; the next period tries again. How runs went is noted beside the models, as
of every retraining; the schedule (what ran, when the next is due) is one document in Redis.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from contracts.clock import wall_clock_ms
from contracts.errors import NextclickError, SettingsError, StateUnavailable
from contracts.exits import or_exit
from contracts.left_out import reason_of
from contracts.logs import log_as
from contracts.outage import Outage
from contracts.retrain_settings import RetrainOptions
from contracts.retrain_status import Outcome, RetrainRun, RetrainStatus
from contracts.settings import ServiceSettings
from nextclick.stack.last_words import last_words
from nextclick.stack.retrain_data import write_catalogue, write_newest
from registry.folder import SERVING, Registry
from registry.retrained import noting
from state.launch import LogFile, launch
from state.presence import announce
from state.retrain_status import RetrainStatusStore

log = logging.getLogger("nextclick.retrain")

RETRY_MS: Final = 600_000
"""A run that failed is tried again after so long, or after the period where that is shorter."""
LOOK_S: Final = 1.0
MOST_WHY: Final = 1000


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run came to."""

    outcome: Outcome
    why: str
    version: str | None = None
    events: int | None = None


Run = Callable[[], Ran]
Keep = Callable[[RetrainStatus], None]


def begun(before: RetrainStatus | None, every_ms: int, now_ms: int) -> RetrainStatus:
    """Return the status of a loop that starts: what was due stays due, a first run is due after one period. Pure."""
    if before is None:
        return RetrainStatus(every_ms=every_ms, next_ms=now_ms + every_ms)
    due_ms = min(before.next_ms, now_ms + every_ms)  # a period that was made shorter counts at once
    return before.model_copy(update={"every_ms": every_ms, "next_ms": due_ms, "running_since_ms": None})


def after(before: RetrainStatus, ran: Ran, began_ms: int, ended_ms: int) -> RetrainStatus:
    """Return the status after a run: the next is due a period after this one began, never in the past. Pure."""
    pause_ms = min(RETRY_MS, before.every_ms) if ran.outcome == "failed" else before.every_ms
    last = RetrainRun(
        began_ms=began_ms,
        ended_ms=ended_ms,
        outcome=ran.outcome,
        why=ran.why[:MOST_WHY],
        version=ran.version,
        events=ran.events,
    )
    runs = {**before.runs, ran.outcome: before.runs.get(ran.outcome, 0) + 1}
    due_ms = max(began_ms + pause_ms, ended_ms)
    return before.model_copy(update={"next_ms": due_ms, "running_since_ms": None, "last": last, "runs": runs})


class Loop:
    """Runs when it is due. Time comes in, and goes out as when to come again."""

    def __init__(self, run: Run, keep: Keep, status: RetrainStatus, clock_ms: Callable[[], int]) -> None:
        self._run, self._keep, self.status, self._clock_ms = run, keep, status, clock_ms
        self._outage = Outage(log, "what was trained is not told: ")
        self._told(status)

    def look(self) -> int:
        """Run if that is due; returns for how many ms nothing is. Whatever a run raises is its outcome."""
        began_ms = self._clock_ms()
        if began_ms < self.status.next_ms:
            return self.status.next_ms - began_ms
        self._told(self.status.model_copy(update={"running_since_ms": began_ms}))
        ran = self._ran()
        said = log.warning if ran.outcome == "failed" else log.info
        said("%s: %s", ran.outcome, ran.why)
        self._told(after(self.status, ran, began_ms, self._clock_ms()))
        return max(0, self.status.next_ms - self._clock_ms())

    def _ran(self) -> Ran:
        try:
            return self._run()
        except (NextclickError, OSError) as error:
            return Ran("failed", str(error))
        except Exception as error:  # ending would only mean starting again
            log.error("training: %s", reason_of(error), exc_info=error)
            return Ran("failed", reason_of(error))

    def _told(self, status: RetrainStatus) -> None:
        self.status = status
        try:
            self._keep(status)
            self._outage.over()
        except StateUnavailable as error:  # it is told with the next one
            self._outage.failed(error)


def train(settings: ServiceSettings, registry: Registry, log_file: Path, clock_ms: Callable[[], int]) -> Ran:
    """Take what came up to now, and have a candidate trained and judged. Raises what cannot be taken."""
    options = settings.retrain
    with TemporaryDirectory(prefix="nextclick-retrain-") as folder:
        recording, items = Path(folder) / "events.jsonl.zst", Path(folder) / "items.jsonl.zst"
        header = write_newest(settings, options, clock_ms(), recording)
        if header.events < options.least_events:
            span = str(options.window).removesuffix(", 0:00:00")
            why = f"Only {header.events:,} events of the last {span}, {options.least_events:,} are wanted."
            return Ran("skipped", why, events=header.events)
        count = write_catalogue(settings, items)
        before = set(registry.names())
        words = command(options, recording, items if count else None, registry.folder)
        status, tail = _waited_for(words, LogFile(log_file))
        new = sorted(set(registry.names()) - before)
        ran = _outcome(registry, status, tail, new[-1] if new else None, header.events)
        registry.keep_newest(options.keep)
        return ran


def command(options: RetrainOptions, recording: Path, items: Path | None, folder: Path) -> list[str]:
    """Return the command line of one run."""
    words = [sys.executable, "-m", "nextclick", "retrain", str(recording), "--folder", str(folder)]
    words += ["--newest", str(options.newest), "--may-lose", str(options.may_lose)]
    for name in options.metric.split(","):
        words += ["--metric", name.strip()]
    words += ["--items", str(items)] if items is not None else []
    words += ["--settings", options.settings] if options.settings else []
    return words + (["--mlflow", options.mlflow] if options.mlflow else [])


def _waited_for(words: list[str], log_file: LogFile) -> tuple[int, str]:
    """Run a command that ends with this process; returns its exit status and the end of what it said."""
    log_file.bound()
    began = log_file.path.stat().st_size if log_file.path.exists() else 0
    status = launch(words, log_file).wait()
    try:
        with log_file.path.open("rb") as said:
            said.seek(began)
            return status, said.read()[-8000:].decode(errors="replace")
    except OSError:
        return status, ""


def _outcome(registry: Registry, status: int, tail: str, version: str | None, events: int) -> Ran:
    if version is None:
        if status == 0:  # the very same models as a version that is there
            return Ran("passed", last_words(tail), registry.serving(), events)
        version = _refused_again(registry, tail)
        if version is None:
            return Ran("failed", f"exit status {status}: {last_words(tail)}", None, events)
    why = registry.read(version).note
    if status:
        return Ran("refused", why, version, events)
    if registry.serving() == version:
        return Ran("published", why, version, events)
    return Ran("passed", f"{why} It does not serve: {registry.pinned()} is pinned.", version, events)


def _refused_again(registry: Registry, tail: str) -> str | None:
    """Return the version that a run named at its end: its models may be those of one that was there."""
    name = last_words(tail).split(":", 1)[0]
    return name if name in registry.names() else None


def noted(run: Run, folder: Path) -> Ran:
    """Run, and note in the folder of models what came of it: also what ended before a training began. Raises what the
    run does.
    """
    with noting(folder) as note_outcome:
        ran = run()
        note_outcome(ran.outcome)
        return ran


def registry_of(settings: ServiceSettings) -> Registry:
    """Return the folder of versions that is served from. Raises SettingsError where artifacts are of none."""
    artifacts = Path(settings.artifacts)
    if not settings.artifacts or artifacts.name != SERVING:
        raise SettingsError(
            f"expected NEXTCLICK_ARTIFACTS to be the `{SERVING}` of a folder of models, such as models/{SERVING}, got "
            f"{settings.artifacts or 'nothing'!r}: `nextclick models add ARTIFACTS --publish` makes one"
        )
    return Registry(artifacts.parent)


def _run_for_ever() -> None:
    settings = ServiceSettings()
    every_ms = settings.retrain.every_ms
    if not every_ms:
        raise SettingsError("NEXTCLICK_RETRAIN__EVERY: expected a period such as P1D, got none")
    registry, store = registry_of(settings), RetrainStatusStore(settings.redis)
    announce(settings.redis, "retrain")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else registry.folder.parent
    before = None
    try:
        before = store.read()
    except StateUnavailable as error:
        log.warning("what was trained before is not known: %s", error)
    training = partial(train, settings, registry, folder / "retrain-run.log", wall_clock_ms)
    run = partial(noted, training, registry.folder)
    loop = Loop(run, store.write, begun(before, every_ms, wall_clock_ms()), wall_clock_ms)
    while True:
        time.sleep(min(60.0, max(LOOK_S, loop.look() / 1000)))


def main() -> None:
    log_as("retrain")
    or_exit(_run_for_ever)


if __name__ == "__main__":
    main()
