"""What the judge says of experiments, read from Redis when asked. What cannot be read is none, and said once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from aiohttp import web

from contracts.errors import StateUnavailable
from contracts.experiment_reports import ShortReport, decode_report, decode_short
from contracts.experiments import ExperimentVersion
from contracts.left_out import LeftOutLog
from contracts.outage import Outage
from gateway.keys import SETTINGS
from state.experiment_reports import ReportStore

log = logging.getLogger("nextclick.gateway")

Kind = TypeVar("Kind", bound=ShortReport)
Read = TypeVar("Read")
NONE: Final[dict[str, Any]] = {"verdict": None, "decision": None}


class Reports:
    """Reads reports, in a thread."""

    def __init__(self, store: ReportStore) -> None:
        self._store, self._left_out = store, LeftOutLog(log)
        self._outage = Outage(log, "reports of experiments: ")

    async def of(self, version: ExperimentVersion) -> dict[str, Any]:
        """Return `verdict`, `decision` and `report` of an experiment's run; null where there is none."""
        raw = await self._read(lambda: self._store.report(version.name), None)
        found = None if raw is None else self._decoded(version, raw, decode_report)
        return NONE | {"report": None} if found is None else {**_short(found), "report": found.model_dump(mode="json")}

    async def decisions(self, versions: list[ExperimentVersion]) -> list[dict[str, Any]]:
        """Return `verdict` and `decision` of each."""
        by_name = await self._read(self._store.decisions, dict[str, bytes]())
        shown: list[dict[str, Any]] = []
        for version in versions:
            raw = by_name.get(version.name)
            found = None if raw is None else self._decoded(version, raw, decode_short)
            shown.append(NONE if found is None else _short(found))
        return shown

    def close(self) -> None:
        self._store.close()

    async def _read(self, read: Callable[[], Read], otherwise: Read) -> Read:
        try:
            found = await asyncio.to_thread(read)
            self._outage.over()
            return found
        except StateUnavailable as error:
            self._outage.failed(error)
            return otherwise

    def _decoded(self, version: ExperimentVersion, raw: bytes, decode: Callable[[bytes], Kind]) -> Kind | None:
        """Return a report; None for one that cannot be read, or of an earlier run."""
        try:
            found = decode(raw)
        except ValueError as error:
            self._left_out.say(f"the report of the experiment {version.name}", error)
            return None
        return found if found.started_ms == version.started_ms else None


def _short(found: ShortReport) -> dict[str, Any]:
    return {"verdict": found.verdict, "decision": found.decision}


async def experiment_reports(app: web.Application) -> AsyncIterator[None]:
    """Reports, for as long as the application runs."""
    reports = app[REPORTS] = Reports(ReportStore(app[SETTINGS].redis))
    yield
    reports.close()


REPORTS = web.AppKey("reports of experiments", Reports)
