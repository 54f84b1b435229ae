"""What Redis and the columns of a gateway hold, beside what the log means: every difference is found and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.cells import Cells, cells_of, without_zeros
from attribution.credit import CreditRules
from contracts.codec import decode_ended, decode_row, decode_showings, decode_trend
from contracts.events import Event
from contracts.ids import ItemKey, item_key, partition_of
from contracts.keys import CATALOGUE, ENDED, SHOWINGS, TRENDS
from contracts.sessions import Session
from contracts.settings import ServiceSettings
from eventlog.contract import Topic
from replay.reference.attribution import facts_in_time, plain_cells
from replay.reference.differences import Differences
from replay.reference.log import LoggedEvent, events_of, read_topic
from replay.reference.profiles import PlainUsers, compare_profiles
from replay.reference.sessions import PlainSession, PlainSessions, VectorOf, plain_state
from replay.reference.trends import PlainTrends
from retrieval.session_columns import SessionColumns
from retrieval.trend_columns import TrendColumns
from retrieval.trends import TrendRules
from session_model import artifact
from session_model.encoder import GATE_ARRAYS
from session_model.general import general_gate, general_version
from session_model.memory import MEMORY_ARRAYS
from session_model.serving import model_folder
from session_model.window import Outcome, WindowRules
from state.attribution import read_ledger
from state.sessions import SessionStore
from state.shards import catalogue_reader
from state.tables import TableReader

STATE_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Reference:
    """What a log means. `event_ids` are those that it holds."""

    sessions: PlainSessions
    trends: PlainTrends
    users: PlainUsers
    event_ids: frozenset[str]
    cells: Cells

    @classmethod
    def of(cls, settings: ServiceSettings, told: Callable[[int], None] = lambda _: None) -> Reference:
        """Read the whole log. It must not be trimmed. Raises LogUnavailable."""
        clicks = events_of(read_topic(settings, Topic.CLICKS, told))
        return cls.made(settings, clicks, events_of(read_topic(settings, Topic.IMPRESSIONS, told)))

    @classmethod
    def made(
        cls,
        settings: ServiceSettings,
        clicks: Sequence[tuple[LoggedEvent, Event]],
        impressions: Sequence[tuple[LoggedEvent, Event]],
    ) -> Reference:
        gap_ms = settings.session.idle_gap_ms
        sessions = PlainSessions(WindowRules(settings.session.max_events, gap_ms))
        trends = PlainTrends(TrendRules.of(settings.trend), gap_ms)
        sessions.read(one for one in clicks if not one[1].is_impression)
        trends.read(clicks, impressions)
        trends.end_all()
        users = PlainUsers()
        users.read(one for one in clicks if not one[1].is_impression)
        ids = frozenset(event.event_id for _, event in (*clicks, *impressions))
        return cls(sessions, trends, users, ids, _cells(settings, clicks, impressions))


def compare(
    reference: Reference,
    settings: ServiceSettings,
    *,
    trends: bool = True,
    states: bool = True,
    profiles: bool = True,
) -> Differences:
    """Compare everything, or without what trends count, the states of sessions, or profiles; figures where their flow
    runs. Raises StateUnavailable.
    """
    found = Differences()
    _compare_progress(found, reference.sessions, settings)
    _compare_sessions(found, reference.sessions, settings, _States(settings) if states else None)
    if profiles:
        compare_profiles(found, reference.users, settings)
    if settings.attribution.run:
        _compare_figures(found, reference.cells, settings)
    if not trends:
        return found
    _compare_trends(found, reference.trends, settings)
    _compare_showings(found, reference.trends, settings)
    _compare_ended(found, reference.trends, settings)
    return found


def _cells(
    settings: ServiceSettings,
    clicks: Sequence[tuple[LoggedEvent, Event]],
    impressions: Sequence[tuple[LoggedEvent, Event]],
) -> Cells:
    if not settings.attribution.run:
        return Cells()
    facts = [*facts_in_time(settings, (one for one, _ in impressions))]
    facts += facts_in_time(settings, (one for one, _ in clicks))
    options = settings.attribution
    return plain_cells(facts, CreditRules(options.click_ms, options.purchase_ms, options.touch))


def _compare_figures(found: Differences, expected: Cells, settings: ServiceSettings) -> None:
    got = without_zeros(cells_of(read_ledger(settings.redis).cells))
    for cell in sorted(expected.keys() | got.keys()):
        found.same(
            f"{cell.counter} of hour {cell.hour}, {' '.join(filter(None, cell.dims))}", expected[cell], got[cell]
        )


def _compare_progress(found: Differences, sessions: PlainSessions, settings: ServiceSettings) -> None:
    """What became of every click, as the sessions flow has counted it."""
    store = SessionStore(settings.redis, idle_gap_ms=settings.session.idle_gap_ms)
    try:
        for partition, outcomes in sessions.outcomes.items():
            progress = store.progress(partition)
            name = f"partition {partition}"
            found.counted(f"{name}, applied", outcomes[Outcome.APPLIED], progress.counts.get("applied", 0))
            found.same(f"{name}, duplicates", outcomes[Outcome.DUPLICATE], progress.counts.get("duplicate", 0))
            found.same(f"{name}, late", outcomes[Outcome.LATE], progress.counts.get("dead_lettered", 0))
            found.same(f"{name}, watermark", sessions.newest_ms[partition], progress.watermark_ms)
    finally:
        store.close()


def _compare_sessions(
    found: Differences, sessions: PlainSessions, settings: ServiceSettings, states: _States | None
) -> None:
    store = SessionStore(settings.redis, idle_gap_ms=settings.session.idle_gap_ms)
    try:
        for session_id, expected in sessions.sessions.items():
            partition = partition_of(session_id, settings.log.partitions)
            got = store.load(partition, [session_id]).sessions.get(session_id)
            if got is None:
                found.say(f"session {session_id}: expected {expected.events} events, got none")
            else:
                _compare_session(found, session_id, expected, got)
                if states is not None:
                    states.compare(found, session_id, expected, got)
    finally:
        store.close()


def _compare_session(found: Differences, name: str, expected: PlainSession, got: Session) -> None:
    window = [(click.ts_ms, click.item, click.event, click.code) for click in expected.window]
    found.same(f"window of {name}", window, [tuple(click) for click in got.window.tolist()])
    for part in ("user_id", "started_ms", "last_ms", "events", "last_offset"):
        found.same(f"{part} of {name}", getattr(expected, part), getattr(got, part))


class _States:
    """The states of sessions by the session model of the settings, or by the general one."""

    def __init__(self, settings: ServiceSettings) -> None:
        folder = model_folder(settings.artifacts)
        if folder is None:
            arrays, self._version = general_gate(), general_version()
        else:
            manifest = artifact.read_manifest(folder, artifact.SESSION_MODEL)
            names = [name for name in (*GATE_ARRAYS, *MEMORY_ARRAYS) if name in manifest.arrays]
            arrays, self._version = artifact.read_arrays(folder, manifest, names), manifest.number
        self._weights = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
        self._vector_of: VectorOf = _vectors(settings, self._version).get

    def compare(self, found: Differences, name: str, expected: PlainSession, got: Session) -> None:
        state = plain_state(expected.window, self._weights, self._vector_of)
        found.same(f"model of {name}", self._version, got.model_version)
        if got.incomplete or len(state) != len(got.embedding):
            found.say(f"state of {name}: expected {len(state)} numbers, got {len(got.embedding)}, {got.incomplete=}")
        elif (apart := float(np.abs(state - got.embedding).max())) > STATE_TOLERANCE:
            found.say(f"state of {name}: {apart:.2g} apart")


def _vectors(settings: ServiceSettings, version: int) -> dict[int, NDArray[np.float64]]:
    rows = [decode_row(raw) for _, raw in _rows(settings, CATALOGUE)]
    return {
        item_key(row.item_id): np.frombuffer(row.vector, np.float32).astype(np.float64)
        for row in rows
        if row.vector and row.model_version == version
    }


def _compare_trends(found: Differences, trends: PlainTrends, settings: ServiceSettings) -> None:
    """The trends table, and the columns that a gateway makes of it."""
    rows = [(int.from_bytes(key, "little"), raw) for key, raw in _rows(settings, TRENDS)]
    columns = TrendColumns(trends.rules)
    columns.apply_rows(rows)
    held = dict(rows)
    found.same("items with trends", len(trends.items), len(held.keys() - trends.groups.keys()))
    for item, expected in (trends.items | trends.groups).items():
        is_group = item in trends.groups
        if item not in held:
            if not is_group or len(trends.visitors[item]) >= settings.trend.visitors:
                found.counted(f"clicks on {item:x}", len(expected.clicks), 0)
            continue
        got, as_of_ms, counts = decode_trend(held[item]), expected.as_of_ms, expected.counts(trends.rules)
        if not is_group:
            found.counted(f"clicks on {item:x}", len(expected.clicks), round(sum(got.origin_counts)))
        found.same(f"origins of {item:x}", tuple(map(float, expected.origins)), got.origin_counts)
        found.same(f"as of of {item:x}", as_of_ms, got.as_of_ms)
        at = columns.rows_of(np.array([item], np.uint64))
        for name, count in counts.items():
            found.close(f"{name} of {item:x}", count, getattr(got, name))
            found.close(f"{name} of {item:x} in columns", count, float(columns.counts_at(name, at, as_of_ms)[0]))
        neighbours = dict(zip(got.neighbours.tolist(), got.weights.tolist(), strict=True))
        _compare_pairs(found, item, expected.pairs(trends.rules), neighbours, trends.rules)


Pair = Sequence[float]


def _compare_pairs(
    found: Differences, item: int, expected: Mapping[ItemKey, Pair], got: Mapping[int, Pair], rules: TrendRules
) -> None:
    if len(expected) <= rules.neighbours:
        found.same(f"neighbours of {item:x}", sorted(expected), sorted(got))
    for other, sums in got.items():
        for name, one, there in zip(
            ("after", "before", "lately"), expected.get(ItemKey(other), ()), sums, strict=False
        ):
            found.close(f"{name} of {item:x} and {other:x}", one, there)


def _compare_showings(found: Differences, trends: PlainTrends, settings: ServiceSettings) -> None:
    got: dict[int, tuple[float, float]] = {}
    for _, raw in _rows(settings, SHOWINGS):
        block = decode_showings(raw)
        counts = zip(block.shown.tolist(), block.clicked.tolist(), strict=True)
        got |= dict(zip(block.keys.tolist(), counts, strict=True))
    expected = trends.shown_counts()
    found.same("items shown", len(expected), len(got))
    for item, (shown, clicked) in expected.items():
        found.close(f"showings of {item:x}", shown, got.get(item, (0.0, 0.0))[0])
        found.close(f"clicked showings of {item:x}", clicked, got.get(item, (0.0, 0.0))[1])


def _compare_ended(found: Differences, trends: PlainTrends, settings: ServiceSettings) -> None:
    """Ended sessions, which vote. Of those that share a slot any may be there."""
    rows = [(int.from_bytes(key, "little"), raw) for key, raw in _rows(settings, ENDED)]
    columns = SessionColumns()
    columns.apply_rows(rows)
    found.counted("ended sessions", len(trends.ended), len(rows))
    found.same("ended sessions in columns", len(trends.ended), len(columns))
    for slot, raw in rows:
        kept = decode_ended(raw)
        taken = {at for at in range(len(kept.items)) if kept.taken >> at & 1}
        told = (kept.started_ms, kept.items.tolist(), taken)
        if told not in trends.ended.get(slot, ()):  # type: ignore[call-overload]
            found.say(f"ended session of slot {slot}: nobody's ({kept.started_ms}, {len(kept.items)} clicks)")


def _rows(settings: ServiceSettings, table: str) -> Iterable[tuple[bytes, bytes]]:
    reader = catalogue_reader(settings.redis) if table == CATALOGUE else TableReader(settings.redis, table)
    try:
        return [row for part in reader.rows() for row in part]
    finally:
        reader.close()
