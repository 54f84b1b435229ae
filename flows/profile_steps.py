"""What the profiles flow does to a micro-batch: find the clicks of known users, wait for their sessions, fold, commit.

No Bytewax here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from contracts.events import Rejection
from contracts.ids import partition_of
from contracts.plain_events import NO_TYPES, PlainEvent, decode_event, read_as
from contracts.profiles import MOST_TEXT, Profile
from contracts.sessions import CLICK, NO_CLICKS, Session
from eventlog.contract import Batch, DeadLetter, LogWriter, Message
from flows.read_record import read_record
from session_model.encoder import SessionEncoder
from session_model.profiles import ProfileRules, Visit, fold_visits
from session_model.window import click_of
from state.profiles import ProfileStore, Users
from state.sessions import SessionStore

log = logging.getLogger(__name__)

_USER: Final = b'"user_id"'
_PAUSE_S: Final = 0.01, 0.25
"""Between two looks at whether the sessions flow has come by: first pause, longest pause."""


@dataclass(frozen=True, slots=True)
class UserClick:
    """A click of a known user, and where it stood in the log."""

    offset: int
    event: PlainEvent


@dataclass(frozen=True, slots=True)
class UserBatch:
    """A batch, and the clicks of known users in it, in log order."""

    batch: Batch
    clicks: Sequence[UserClick]


def decode_users(batch: Batch, *, now_ms: int, max_future_ms: int, types: Mapping[str, str] = NO_TYPES) -> UserBatch:
    """Find the clicks of known users. What cannot be read is passed by: the sessions flow keeps it as a dead letter."""

    def click(message: Message) -> UserClick | Rejection | None:
        event = decode_event(message.value, now_ms=now_ms, max_future_ms=max_future_ms)
        if isinstance(event, Rejection) or event.user_id is None or event.is_impression:
            return None
        return UserClick(message.offset, read_as(event, types))

    found = [read_record(click, message) for message in batch.messages if _USER in message.value]
    return UserBatch(batch, [one for one in found if isinstance(one, UserClick)])


class ProfilePath:
    """Applies micro-batches to users' profiles: each click once, whoever else writes the same user."""

    def __init__(
        self,
        *,
        store: ProfileStore,
        sessions: SessionStore,
        writer: LogWriter,
        encoder: Callable[[], SessionEncoder | None],
        rules: ProfileRules,
        partitions: int,
        clock_ms: Callable[[], int],
        sleep: Callable[[float], None] = time.sleep,
        watch: Callable[[Mapping[str, Profile | None], Mapping[str, Profile]], None] | None = None,
    ) -> None:
        """`encoder` is asked before each batch which one serves: vectors of the one before are let go. `watch` is
        called before each commit with users' profiles as they are, and as they will be.
        """
        self._watch = watch
        self._store, self._sessions, self._writer = store, sessions, writer
        self._serving, self._encoder, self._rules, self._partitions = encoder, encoder(), rules, partitions
        self._clock_ms, self._sleep = clock_ms, sleep

    def apply(self, decoded: UserBatch, letters: Sequence[DeadLetter] = ()) -> None:
        """Fold a batch into its users, partition by partition of theirs, and then say that it was read.

        Waits until the sessions flow has applied what is folded. Raises StateUnavailable or LogUnavailable: call again
        with the same batch; StateConflict where the batch does not begin at what was read: Redis went back.
        """
        source = decoded.batch.partition
        self._encoder = self._serving()
        if letters:
            self._writer.dead_letter(letters)
        if decoded.clicks:
            self._learn(source, decoded)
        self._store.read_on(source, decoded.batch.start, decoded.batch.next)

    def _learn(self, source: int, decoded: UserBatch) -> None:
        by_session: dict[str, list[UserClick]] = {}
        for click in decoded.clicks:
            by_session.setdefault(click.event.session_id, []).append(click)
        views = self._views(source, list(by_session), decoded.clicks[-1].offset)
        first = {name: clicks[0].event.user_id or "" for name, clicks in by_session.items()}
        owners = self._store.owners(source, decoded.batch.start, first)
        waiting = sorted({click.event.user_id or "" for click in decoded.clicks})
        while waiting:
            by_partition: dict[int, list[str]] = {}
            for user_id in waiting:
                by_partition.setdefault(partition_of(user_id, self._partitions), []).append(user_id)
            loaded = self._store.load(source, by_partition)
            changes = [
                (users, decoded.batch.next, self._folded(users, by_session, views, owners))
                for users in loaded
                if users.known < decoded.batch.next
            ]
            if self._watch is not None:
                for users, _, folded in changes:
                    self._watch({user_id: users.stored[user_id][1] for user_id in folded}, folded)
            written = self._store.commit(source, changes)
            waiting = [
                user_id
                for (users, *_), done in zip(changes, written, strict=True)
                if not done
                for user_id in users.stored
            ]

    def _views(self, source: int, session_ids: Sequence[str], last: int) -> Mapping[str, Session]:
        """Return the sessions' views once they hold the record at `last`."""
        pause, longest = _PAUSE_S
        while True:
            loaded = self._sessions.load(source, session_ids)
            if loaded.next_offset > last:
                return loaded.sessions
            self._sleep(pause)
            pause = min(2 * pause, longest)

    def _folded(
        self,
        users: Users,
        by_session: Mapping[str, Sequence[UserClick]],
        views: Mapping[str, Session],
        owners: Mapping[str, str],
    ) -> dict[str, Profile]:
        """Return what becomes of a partition's users, without the records that they know already, without what a
        deleted user did before; of none who refuses personalisation, or whose profile a newer release wrote.
        """
        left = {*users.refused, *users.newer}
        visits: dict[str, list[Visit]] = {user_id: [] for user_id in users.stored if user_id not in left}
        for name, clicks in by_session.items():
            for user_id in {click.event.user_id or "" for click in clicks} & visits.keys():
                since = users.forgotten_ms.get(user_id, -1)
                own = [
                    one.event
                    for one in clicks
                    if one.event.user_id == user_id and one.offset >= users.known and one.event.ts > since
                ]
                if own:
                    view = views.get(name) if owners[name] == user_id else None
                    visits[user_id].append(self._visit(name, own, view, since))
        version = 0 if self._encoder is None else self._encoder.version
        folded: dict[str, Profile] = {}
        for user_id, came in visits.items():
            before = users.stored[user_id][1]
            if came:
                after = fold_visits(before, came, self._rules, model_version=version)
                revision = self._clock_ms() if before is None else before.revision + 1
                folded[user_id] = replace(after, revision=revision)
        return folded

    def _visit(self, session_id: str, own: Sequence[PlainEvent], view: Session | None, since: int) -> Visit:
        """Return what is new of a session: the user's clicks, and what the view holds up to the last of them, after
        `since`. The vector of a session that began before it is made of clicks before it: it is left out.
        """
        clicks = np.array([click_of(event) for event in own], CLICK)
        last_ms = int(clicks["ts_ms"].max())
        joined = NO_CLICKS if view is None else view.window[view.window["ts_ms"] <= last_ms]
        joined = joined[joined["ts_ms"] > since]
        newest = max(own, key=lambda event: event.ts)
        context = newest.context or {}
        return Visit(
            xxhash.xxh3_64_intdigest(session_id.encode()),
            np.concatenate([clicks, joined]),
            last_ms if view is None else view.last_ms,
            self._vector(view) if view is not None and view.started_ms > since else None,
            _short(context.get("device")),
            _short(context.get("region")),
            newest.ts,
        )

    def _vector(self, view: Session) -> NDArray[np.float32] | None:
        """Return a session's unit query vector (d,); None where there is none of this model."""
        encoder = self._encoder
        if encoder is None or view.model_version != encoder.version:
            return None
        if len(view.embedding) != encoder.width:
            return None
        [vector] = encoder.query(view.embedding[None, :].astype(np.float32))
        return vector if vector.any() else None


def _short(value: object) -> str:
    """Return a text of a context as far as a profile keeps it; nothing of what is no text."""
    if not isinstance(value, str) or len(value.encode(errors="replace")) > MOST_TEXT:
        return ""
    return value
