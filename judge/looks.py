"""The job that looks at experiments: reads, reports, acts, tells. What is decided is in the pure modules beside it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attribution.participants import Participants
from contracts.errors import NextclickError
from contracts.experiment_reports import ExperimentReport, decode_report, encode_report
from contracts.experiments import ExperimentVersion
from contracts.left_out import OUTAGES, LeftOutLog
from contracts.outage import Outage
from judge.action import Action, action_of
from judge.lag import Lag
from judge.pace import is_judged, next_look_s
from judge.published import Published
from judge.shares import expected_shares
from judge.told import lines_of, untold
from state.audit import ADMIN, AuditLog, Entry
from state.experiment_reports import ReportStore

log = logging.getLogger("nextclick.judge")

SETTLES, SETTLE_S = 20, 0.05
"""How often, and after how long, it is asked again whether all that was logged is counted."""


class Sources(Protocol):
    """What is read of the stream."""

    def units(self, version: ExperimentVersion) -> Participants:
        """Return the units of a run of an experiment."""

    def ends(self) -> Mapping[str, int]:
        """Return where the log ends, by `topic:partition`."""

    def counted(self) -> Mapping[str, int]:
        """Return up to where units are counted, by `topic:partition`."""


class Acts(Protocol):
    def do(self, name: str, version: int, action: Action) -> None:
        """Do it to this version of an experiment. Raises NextclickError where that was not done."""


class Looks:
    """Looks at what is due each time that it is called. For one thread."""

    def __init__(
        self,
        published: Published,
        sources: Sources,
        reports: ReportStore,
        audit: AuditLog,
        gateway: Acts,
        *,
        every_s: float,
        max_lag_s: float,
        after_ms: int,
        clock_ms: Callable[[], int],
    ) -> None:
        """`after_ms`: how long after its end an experiment is still looked at."""
        self._published, self._sources, self._reports, self._audit = published, sources, reports, audit
        self._gateway, self._clock_ms = gateway, clock_ms
        self._every_s, self._max_lag_s, self._after_ms = every_s, max_lag_s, after_ms
        self._lag = Lag()
        self._due_ms: dict[str, float] = {}
        self._told: set[str] | None = None
        self._left_out = LeftOutLog(log)
        self._acting, self._telling = Outage(log, "acting: "), Outage(log, "telling what was done: ")

    def look(self) -> None:
        """Report on every experiment that is due, and act. Raises StateUnavailable, LogUnavailable."""
        versions = self._published.all()
        self._tell(versions)
        self._forget(versions)
        now_ms = self._clock_ms()
        running = [one for one in versions if is_judged(one, now_ms, self._after_ms)]
        self._due_ms = {one.name: self._due_ms.get(one.name, 0.0) for one in running}
        due = [one for one in running if self._due_ms[one.name] <= now_ms]
        if not due:
            return
        import judge.report  # noqa: F401 (scipy: not before there is an experiment, and on nobody's account)

        lag_s = self._lag_s(now_ms)
        for version in due:
            begun = time.process_time()
            try:
                self._look_at(version, lag_s)
            except OUTAGES:
                raise
            except Exception as error:
                self._left_out.say(f"the experiment {version.name}", error)
            took_s = time.process_time() - begun
            pause_s = next_look_s(self._every_s, took_s) - self._every_s / 2  # calls come about every `every_s`
            self._due_ms[version.name] = now_ms + 1000.0 * pause_s

    def _lag_s(self, now_ms: int) -> float | None:
        """Return how far what is counted is behind the log: a flow that keeps up is there in a moment. Units are read
        after that, so they are no older.
        """
        self._lag.seen(now_ms, self._sources.ends())
        for _ in range(SETTLES):
            if self._lag.behind_s(now_ms, self._sources.counted()) == 0.0:
                break
            time.sleep(SETTLE_S)
        return self._lag.behind_s(now_ms, self._sources.counted())

    def _look_at(self, version: ExperimentVersion, lag_s: float | None) -> None:
        from judge.report import Seen, judged

        now_ms = self._clock_ms()
        shares = expected_shares(version, self._published.versions(version))
        seen = Seen(version, self._sources.units(version), shares, self._before(version.name), now_ms, lag_s)
        report, verdict = judged(seen)
        action, held = action_of(version, verdict, now_ms=now_ms, lag_s=lag_s, max_lag_s=self._max_lag_s)
        self._write(version.name, report.model_copy(update={"held": held}))
        if action is None:
            return
        try:
            self._gateway.do(version.name, version.version, action)
            self._acting.over()
        except NextclickError as error:
            self._acting.failed(error)
            self._write(version.name, report.model_copy(update={"held": f"it could not be done: {error}"[:1000]}))
        self._tell(self._published.all())  # also where no answer came: it may have been done

    def _before(self, name: str) -> ExperimentReport | None:
        raw = self._reports.report(name)
        try:
            return None if raw is None else decode_report(raw)
        except ValueError as error:
            self._left_out.say(f"the last report of {name}", error)
            return None

    def _write(self, name: str, report: ExperimentReport) -> None:
        self._reports.write(name, encode_report(report), encode_report(report.short))

    def _tell(self, versions: Sequence[ExperimentVersion]) -> None:
        """Write the lines of what was done that the audit log does not have. It is read where there may be a new one:
        another judge may have told it. An audit log that takes no line keeps nobody from being looked at: the line is
        told later.
        """
        lines = lines_of(versions, self._clock_ms())
        if not untold(lines, self._told or ()):
            return
        try:
            self._write_lines(lines)
            self._telling.over()
        except NextclickError as error:
            self._telling.failed(error)

    def _write_lines(self, lines: Sequence[Entry]) -> None:
        self._told = {entry.what for entry in self._audit.newest(ADMIN)}
        for line in untold(lines, self._told):
            told, self._told = self._told, None  # after an error it is not known whether the line is there
            self._audit.append(ADMIN, line)
            self._told = told | {line.what}
            log.info("%s: %s", line.what, line.outcome)

    def _forget(self, versions: Sequence[ExperimentVersion]) -> None:
        """Take away reports of experiments that were deleted."""
        names = {version.name for version in versions}
        self._reports.forget(name for name in self._reports.decisions() if name not in names)
