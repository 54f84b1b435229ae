"""What a log says of its users: which clicks their profiles must hold, and which they may.

A click that names its user belongs to the profile, whichever device sent it. Clicks of the same session that name
nobody join it at log-in, as far as the session's window held them at that moment. So those may be there.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field

from contracts.events import Event, EventCode
from contracts.ids import event_key, partition_of
from contracts.settings import ServiceSettings
from replay.reference.differences import Differences
from replay.reference.log import LoggedEvent
from state.profiles import ProfileStore

_AT_ONCE = 500


@dataclass(slots=True)
class PlainUser:
    """Event keys of a user's own clicks, and of those that may have joined them, each with its type."""

    own: dict[int, EventCode] = field(default_factory=dict)
    joined: dict[int, EventCode] = field(default_factory=dict)


@dataclass(slots=True)
class PlainUsers:
    """All users of a log, by id. The first user of a session is the one whom its nameless clicks may join."""

    users: dict[str, PlainUser] = field(default_factory=dict)

    def read(self, clicks: Iterable[tuple[LoggedEvent, Event]]) -> None:
        """Take all clicks, each partition's in the order of its log."""
        nameless: dict[str, dict[int, EventCode]] = {}
        owners: dict[str, str] = {}
        for _, event in clicks:
            key = event_key(event.event_id)
            if event.user_id is None:
                nameless.setdefault(event.session_id, {})[key] = event.code
            else:
                owners.setdefault(event.session_id, event.user_id)
                self.users.setdefault(event.user_id, PlainUser()).own[key] = event.code
        for session_id, user_id in owners.items():
            self.users[user_id].joined |= nameless.get(session_id, {})


def compare_profiles(found: Differences, plain: PlainUsers, settings: ServiceSettings) -> None:
    """Every click of its own is in a user's profile, once, and no other user's. Raises StateUnavailable."""
    by_partition: dict[int, list[str]] = {}
    for user_id in plain.users:
        by_partition.setdefault(partition_of(user_id, settings.log.partitions), []).append(user_id)
    with closing(ProfileStore(settings.redis, keep_ms=settings.profile.keep_ms)) as store:
        for partition, user_ids in by_partition.items():
            for at in range(0, len(user_ids), _AT_ONCE):
                [users] = store.load(0, {partition: user_ids[at : at + _AT_ONCE]})
                for user_id, (_, profile) in users.stored.items():
                    expected = plain.users[user_id]
                    if profile is None:
                        found.counted(f"clicks of user {user_id}", len(expected.own), 0)
                    elif len(profile.clicks) < settings.profile.max_events:  # else the oldest have gone
                        got = dict(zip(profile.clicks["event"].tolist(), profile.clicks["code"].tolist(), strict=True))
                        _compare_user(found, user_id, expected, got, (profile.events, profile.purchases))


def _compare_user(
    found: Differences, user_id: str, expected: PlainUser, got: dict[int, int], counted: tuple[int, int]
) -> None:
    """`got` are the types of a profile's clicks by event key, `counted` its events and purchases."""
    lost, nobodys = expected.own.keys() - got.keys(), got.keys() - expected.own.keys() - expected.joined.keys()
    found.counted(f"clicks of user {user_id}", len(expected.own), len(expected.own) - len(lost))
    found.counted(f"clicks of others in the profile of user {user_id}", 0, len(nobodys))
    found.counted(f"events of user {user_id}", len(got), counted[0])
    purchases = sum(code == EventCode.PURCHASE for code in got.values())
    found.counted(f"purchases of user {user_id}", purchases, counted[1])
