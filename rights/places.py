"""Every place that holds something, and what of a visitor is there: the one inventory that erasure and export follow.

A place is a family of Redis keys (by the name of its function in `contracts.keys.Keys`), a topic of the log, a kind of
file, or what processes hold in memory. A key family or a topic that is not in here fails a test: whoever adds one says
what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    REDIS = "redis"
    LOG = "log"
    FILE = "file"
    PROCESS = "process"


class By(StrEnum):
    """What names a visitor in a place."""

    USER = "user_id"
    SESSION = "session_id"
    VISITOR = "user_id, else session_id"
    """One name of a visitor: the user where one was told, else the session."""
    BOTH = "session_id and user_id"
    SLOT = "hash of session_id and its beginning"
    HASH = "keyed hash"
    PATH = "path of a request"


class Erased(StrEnum):
    """What an erasure does there."""

    DELETED = "deleted"
    """Keys or entries of the visitor go, those of others stay as they are."""
    REWRITTEN = "rewritten"
    """What holds many visitors' records is written again without this one's."""
    MASKED = "masked"
    """The entry stays, without the name."""
    LET_GO = "let go"
    """Processes let go of it once they are told."""
    KEPT = "kept"
    """It stays, as no one can be read from it; the receipt says so."""


@dataclass(frozen=True, slots=True)
class Place:
    """`name`: the function of Keys, the topic, or a word of ours. `holds` is for people; `export` whether what is there
    is the visitor's own data, to be handed out.
    """

    kind: Kind
    name: str
    holds: str
    by: By
    erased: Erased
    export: bool = True


_KEYS: Final = (
    Place(Kind.REDIS, "session", "the open session: its last clicks and its state", By.BOTH, Erased.DELETED),
    Place(Kind.REDIS, "exposures", "pages that were shown lately", By.VISITOR, Erased.DELETED),
    Place(Kind.REDIS, "sent", "pages that count for a frequency cap", By.VISITOR, Erased.DELETED),
    Place(Kind.REDIS, "user", "the document that the site wrote", By.USER, Erased.DELETED),
    Place(Kind.REDIS, "profile", "what the stream learnt", By.USER, Erased.DELETED),
    Place(Kind.REDIS, "session_owner", "the first user who was seen in a session", By.BOTH, Erased.DELETED),
    Place(Kind.REDIS, "mailed", "which campaigns wrote to the user, and when", By.USER, Erased.DELETED),
    Place(Kind.REDIS, "waits", "items that the user waits for, by the last click", By.USER, Erased.DELETED),
    Place(Kind.REDIS, "calls", "webhooks that wait, with who waits", By.USER, Erased.REWRITTEN, export=False),
    Place(Kind.REDIS, "forgotten", "who was deleted lately, and when", By.HASH, Erased.KEPT, export=False),
    Place(Kind.REDIS, "dead_letters", "records that could not be taken, as they came", By.BOTH, Erased.REWRITTEN),
    Place(Kind.REDIS, "quality_bots", "sessions that no human has", By.SESSION, Erased.DELETED),
    Place(Kind.REDIS, "attribution_unit", "what was shown and what came of it", By.BOTH, Erased.DELETED),
    Place(Kind.REDIS, "experiment_units", "what a unit did in an experiment", By.VISITOR, Erased.DELETED),
    Place(Kind.REDIS, "audit", "requests of administrators about a visitor", By.PATH, Erased.MASKED, export=False),
    Place(Kind.REDIS, "table_rows", "of ended sessions (`ended`): their last clicks", By.SLOT, Erased.DELETED),
    Place(Kind.REDIS, "table_changes", "changes of those rows, bounded", By.SLOT, Erased.KEPT, export=False),
    Place(Kind.REDIS, "erasures", "erasures: who by a hash, when, and receipts", By.HASH, Erased.KEPT, export=False),
    Place(Kind.REDIS, "erasing", "names of an erasure that is under way", By.BOTH, Erased.DELETED, export=False),
)
_LOG: Final = (
    Place(Kind.LOG, "clicks", "what the visitor did, as it was sent", By.BOTH, Erased.REWRITTEN),
    Place(Kind.LOG, "impressions", "what the visitor was shown", By.BOTH, Erased.REWRITTEN),
)
_FILES: Final = (
    Place(Kind.FILE, "recordings", "accepted events, in `record.to`", By.BOTH, Erased.REWRITTEN),
    Place(Kind.FILE, "answers", "answers that are kept, in `answers.to`", By.BOTH, Erased.REWRITTEN),
    Place(Kind.FILE, "ledger", "what was shown and what came of it, in `erasure.ledgers`", By.BOTH, Erased.REWRITTEN),
    Place(
        Kind.FILE,
        "campaigns",
        "picks for an audience: files of `nextclick campaign run`",
        By.USER,
        Erased.REWRITTEN,
    ),
    Place(Kind.FILE, "trends_store", "open sessions of the trends flow", By.SESSION, Erased.LET_GO, export=False),
    Place(Kind.FILE, "append_only_file", "writes to the stack's Redis", By.BOTH, Erased.REWRITTEN, export=False),
    Place(Kind.FILE, "process_logs", "lines about records that could not be read", By.BOTH, Erased.KEPT, export=False),
    Place(Kind.FILE, "backups", "whole copies; a restore erases again", By.BOTH, Erased.KEPT, export=False),
)
_PROCESSES: Final = (
    Place(Kind.PROCESS, "ended_replica", "of ended sessions: their last clicks", By.SLOT, Erased.LET_GO, export=False),
    Place(Kind.PROCESS, "asked_lately", "sessions that were answered lately", By.SESSION, Erased.LET_GO, export=False),
    Place(Kind.PROCESS, "names", "names whose partition was computed", By.BOTH, Erased.LET_GO, export=False),
    Place(Kind.PROCESS, "open_sessions", "open sessions of the trends flow", By.SESSION, Erased.LET_GO, export=False),
    Place(
        *(Kind.PROCESS, "watched_sessions", "open sessions of the quality flow, for an hour", By.SESSION, Erased.KEPT),
        export=False,
    ),
)
PLACES: Final = (*_KEYS, *_LOG, *_FILES, *_PROCESSES)

OF_NOBODY: Final = {
    "log": "the log's topics have places of their own",
    **dict.fromkeys(("log_end", "log_groups", "log_bytes", "log_marks"), "offsets and sizes of the log"),
    **dict.fromkeys(("users", "profile_progress", "progress"), "counts and offsets"),
    **dict.fromkeys(("quality_cells", "quality_progress"), "counts by minute, and offsets"),
    **dict.fromkeys(("attribution_cells", "attribution_hours", "attribution_facts"), "sums over visitors"),
    **dict.fromkeys(("attribution_progress", "attribution_experiments"), "offsets, names of experiments"),
    **dict.fromkeys(("experiment_sums", "experiment_report", "experiment_decisions"), "sums over visitors"),
    **dict.fromkeys(("bandit_shares", "retrain_status", "shadow"), "figures of experiments and models"),
    **dict.fromkeys(("read_progress", "processes", "watched", "live"), "what processes tell of themselves"),
    **dict.fromkeys(("probe", "mirror", "mirroring", "restoring"), "what processes tell of themselves"),
    "flow_members": "names of processes",
    **dict.fromkeys(("secret", "erasure_secret"), "keys of the deployment"),
    **dict.fromkeys(("table_end", "table_progress", "table_changed_bytes"), "numbers of a table"),
    **dict.fromkeys(("table_marks", "table_bytes", "table_pulse", "table_shards"), "numbers of a table"),
    **dict.fromkeys(("document_versions", "document_counts"), "scenarios and experiments"),
    **dict.fromkeys(("due_calls", "calls_since"), "when webhooks are due, and since when they wait"),
    **dict.fromkeys(("call_counts", "call_failures"), "what became of webhooks: counts, and answers without a body"),
    "campaign_files": "which files campaigns wrote, and on which machine",
    "feeds": "which feeds there are, and how their pulls went",
    "rewriting": "the copy of a stream while it is written again without a visitor",
    "items": "the catalogue's topic",
}
"""Key families and topics that hold nothing of a visitor, and what they hold."""

AGGREGATES: Final = {
    "trends": "counts of items and of pairs of items: sums over visitors, which fade by half-life",
    "showings": "how often each item was shown, over all visitors",
    "figures": "sums by hour (attribution, experiments, quality): counts without names",
    "models": "weights that were trained with the visitor's clicks among all others; the next training goes without",
}
"""What remains of somebody who is erased, as sums in which nobody can be told apart."""


def places_of(*kinds: Kind) -> list[Place]:
    """Return the places of some kinds, of all kinds where none is named."""
    return [place for place in PLACES if not kinds or place.kind in kinds]


def exported() -> list[Place]:
    """Return the places whose content is the visitor's own, to be handed out."""
    return [place for place in PLACES if place.export]
