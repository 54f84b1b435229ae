"""Errors that cross a room's door. Each says what was expected, what came, and what to do.

NextclickError
├── SettingsError        a setting is missing or out of range
│   ├── Unguarded        others would reach a gateway that no API key guards
│   └── ShardsDiffer     a table has other shards in Redis than the settings say
├── ArtifactError        a model, ranker or snapshot cannot be loaded as it is
├── LogUnavailable       the event log cannot take or give records now: retry
│   └── LogFull          its backlog limit is reached: retry after the flows caught up
├── RecordTooLarge       a record is larger than the log takes: it never will
├── OffsetTrimmed        the log no longer holds the wanted offset
│   └── LogWentBack      it holds other records in the place of those that were read
├── StateUnavailable     Redis cannot be reached, did not answer in time, or refuses: retry
├── StateConflict        another worker moved this partition on: read again
├── StartupError         a part of the embedded stack did not come up
│   └── RestoreUnderWay  a backup is being restored into this Redis, or was left half-way
├── KeyRefused           an API key cannot be made, found or changed like that
├── ImportFormatError    a recorded file is not in the layout it should be in
└── OutputRefused        an output would replace what this command did not make
"""

from __future__ import annotations


class NextclickError(Exception):
    """The root of every error that Nextclick raises on purpose."""


def said_in(group: BaseExceptionGroup[BaseException]) -> NextclickError | OSError | None:
    """Return the first error in a group that is said to people in one line; None when there is none."""
    for error in group.exceptions:
        found = said_in(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, NextclickError | OSError):
            return found
    return None


class SettingsError(NextclickError):
    """A setting is missing or out of range."""


class Unguarded(SettingsError):
    """Others would reach a gateway that no API key guards, and no setting says that this is meant."""


class ShardsDiffer(SettingsError):
    """A table has another number of shards in Redis than the settings say. Nothing was read or written."""

    def __init__(self, table: str, place: str, stored: int, wanted: int) -> None:
        super().__init__(
            f"{table} is stored as {stored} {'shard' if stored == 1 else 'shards'} in Redis at {place}, "
            f"NEXTCLICK_REDIS__ITEM_SHARDS says {wanted}: set it to {stored}, or end everything that uses this Redis "
            f"and run `nextclick items shards {wanted}`"
        )


class ArtifactError(NextclickError):
    """A model, ranker or snapshot cannot be loaded as it is."""


class LogUnavailable(NextclickError):
    """The event log cannot take or give records now. Nothing was promised; retry."""


class StateFull(NextclickError):
    """A bound of what Redis keeps is reached: something has to be taken away first. Nothing was written."""


class LogFull(LogUnavailable):
    """The log's backlog limit is reached; taking more would drop accepted events."""


class RecordTooLarge(NextclickError):
    """A record is larger than the log takes. Sending it again does not help; no record was taken."""


class OffsetTrimmed(NextclickError):
    """The log no longer holds the wanted offset."""

    def __init__(self, topic: str, partition: int, wanted: int, earliest: int) -> None:
        self.topic, self.partition, self.wanted, self.earliest = topic, partition, wanted, earliest
        super().__init__(
            f"{topic} partition {partition}: wanted offset {wanted}, the oldest kept is {earliest}. "
            "Records in between were trimmed: raise the log's retention, or start from the oldest."
        )


class LogWentBack(OffsetTrimmed):
    """From offset `earliest` on the log does not hold what was read: it lost its last records."""

    def __str__(self) -> str:
        return (
            f"{self.topic} partition {self.partition}: it was read up to offset {self.wanted}, and holds other records "
            f"from {self.earliest} on: Redis lost its last ones."
        )


class StateUnavailable(NextclickError):
    """Redis cannot be reached, did not answer in time, or refuses (it is full, its disk is full, it is a replica)."""


class StateConflict(NextclickError):
    """A batch does not start where the stored state ends: another worker moved the partition on."""

    def __init__(self, place: str, start: int, stored: int) -> None:
        self.place, self.start, self.stored = place, start, stored
        super().__init__(
            f"{place}: this batch starts at {start}, the stored offset is {stored}: another worker applied it, "
            "or the log was rolled back; read again from the stored offset"
        )


class StartupError(NextclickError):
    """A part of the embedded stack did not come up."""


class RestoreUnderWay(StartupError):
    """What Redis holds of this deployment is on its way from a backup, or half of one: nothing starts on it."""


class KeyRefused(NextclickError):
    """An API key cannot be made, found or changed like that. Nothing was changed."""


class ImportFormatError(NextclickError):
    """A recorded file is not in the layout it should be in; names file, line and column."""


class OutputRefused(NextclickError):
    """An output would replace what this command did not make, or is one of its inputs. Nothing was touched."""
