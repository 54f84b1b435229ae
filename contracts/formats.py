"""Every form in which something is kept: where its version stands, which versions are read and which one is written.

Two releases that follow each other run side by side on one state, in either direction. So a form is changed in two
steps: a release reads the new version beside the old one and writes the old one, and the release after it writes the
new one. No setting says so, and nobody has to end a roll: whatever a release writes, the one before it reads
(`clashes`, and a test that holds this table to that of the last release).

A JSON document may get a new field without a new version, if a reader that passes it by is not wrong. Where a row of
version 1 carries no mark (`bare`), it is known by having none; a later version has one, which is read already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

MARK: Final = "v"
"""The field of a JSON document that tells its version."""


class Encoding(StrEnum):
    BYTES = "bytes"
    JSON = "JSON"
    MSGPACK = "msgpack"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class Format:
    """A form of rows, files or tokens. `mark`: where the version stands. `read` are the versions that are taken,
    `written` is the one that is made. `bare`: version 1 carries no mark.
    """

    name: str
    encoding: Encoding
    mark: str
    written: int = 1
    read: tuple[int, ...] = (1,)
    bare: bool = False

    @property
    def newest(self) -> int:
        return max(self.read)


MOST_AHEAD: Final = 16
"""A version further ahead is damage: no release is as far away, and letters begin at 32."""


class NewerFormat(ValueError):
    """What a newer release wrote, in a form that this one does not know: to be left as it is."""


_FIRST = "first byte"
_FIELD = f"field `{MARK}`"
_TOP = "highest byte of the moment"
_JSON: Final = (Encoding.JSON, _FIELD)

_ROWS: Final = (
    Format("session", Encoding.BYTES, _FIRST),
    Format("catalogue_row", Encoding.BYTES, f"{_FIRST}; its document may have further fields"),
    Format("trend", Encoding.BYTES, _FIRST, 4, (4,)),
    Format("showings", Encoding.BYTES, _FIRST),
    Format("ended", Encoding.BYTES, f"{_FIRST}; 1 where nothing was taken", 2, (1, 2)),
    Format("profile", Encoding.BYTES, "byte 8, behind the revision"),
    Format("shown_page", Encoding.BYTES, f"{_TOP}, 0 is version 1", bare=True),
    Format("mailed", Encoding.BYTES, f"{_TOP}, 0 is version 1", bare=True),
    Format("refusal", Encoding.BYTES, _FIRST),
    Format("user", *_JSON, bare=True),
    Format("scenario", *_JSON),
    Format("experiment", *_JSON),
    Format("api_key", *_JSON),
    Format("bandit_shares", *_JSON),
    Format("experiment_report", *_JSON),
    Format("retrain_status", *_JSON),
    Format("process", *_JSON),
    Format("live", *_JSON, bare=True),
    Format("erasure", *_JSON, bare=True),
    Format("erasing", *_JSON),
    Format("audit_entry", *_JSON),
    Format("happened", *_JSON),
    Format("call", *_JSON),
    Format("call_failure", *_JSON, bare=True),
    Format("campaign_file", Encoding.JSON, "a pair; what is none is passed by", bare=True),
    Format("feeds", *_JSON, bare=True),
    Format("attribution_unit", Encoding.MSGPACK, "first element; further ones at the end are passed by"),
    Format("experiment_unit", Encoding.MSGPACK, "twelfth element; further ones at the end are passed by"),
)
_LOG: Final = (
    Format("event", *_JSON),
    Format("item_change", Encoding.JSON, "field `op`: what is not known is a dead letter", bare=True),
    Format("dead_letter", Encoding.BYTES, "fields of a stream entry: further ones are passed by", bare=True),
)
_TOKENS: Final = (
    Format("events_token", Encoding.BYTES, "`p3:88121`: another form begins otherwise", bare=True),
    Format("cursor", Encoding.BYTES, _FIRST),
    Format("capsule", Encoding.BYTES, _FIRST),
)
_HEADER = "fields `format`, `v` of the first line"
_FILES: Final = (
    Format("recordings", Encoding.FILES, _HEADER),
    Format("answers", Encoding.FILES, "16 bytes before a record: request id, or zeros", bare=True),
    Format("ledger", Encoding.FILES, "field `format` of the manifest, `nextclick ledger 1`"),
    Format("campaigns", Encoding.FILES, "field `format` of the plan, `nextclick campaign 1`"),
    Format("trends_store", Encoding.FILES, "file `state-version`; another release's is put aside", 6, (6,)),
    Format("backups", Encoding.FILES, "field `layout` of the manifest"),
    Format("erasure_list", Encoding.FILES, "field `format`", bare=True),
    Format("snapshots", Encoding.FILES, "field `format` of the manifest"),
    Format("session_model", Encoding.FILES, "field `format` of the manifest; towers alike"),
    Format("reranker", Encoding.FILES, "field `format_version` of the manifest"),
    Format("model_versions", Encoding.FILES, "field `format_version` of version.json, in a folder or an object store"),
    Format("feed_state", Encoding.FILES, "fields by name; a feed that has none is pulled whole", bare=True),
)
FORMATS: Final[Mapping[str, Format]] = {one.name: one for one in (*_ROWS, *_LOG, *_TOKENS, *_FILES)}
"""All forms by name."""

_TABLE_ROWS = ("catalogue_row", "trend", "showings", "ended", "scenario", "experiment", "api_key", "refusal")
KEPT_IN: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: (name,) for name in ("session", "user", "profile", "attribution_unit", "bandit_shares", "retrain_status")},
    **{name: (name,) for name in ("experiment_report", "mailed", "live", "erasing")},
    **dict.fromkeys(("exposures", "sent"), ("shown_page",)),
    **dict.fromkeys(("table_rows", "table_changes"), _TABLE_ROWS),
    "document_versions": ("scenario", "experiment"),
    "experiment_units": ("experiment_unit",),
    "experiment_decisions": ("experiment_report",),
    "processes": ("process",),
    "erasures": ("erasure",),
    "audit": ("audit_entry",),
    "calls": ("happened", "call"),
    "call_failures": ("call_failure",),
    "campaign_files": ("campaign_file",),
    "feeds": ("feeds",),
    "log": ("event", "item_change"),
    "rewriting": ("event", "audit_entry"),
    "dead_letters": ("dead_letter",),
}
"""Families of Redis keys (functions of `contracts.keys.Keys`) that hold encoded rows, and which forms these have."""
OF_NUMBERS: Final = (
    *(
        "forgotten",
        "waits",
        "due_calls",
        "calls_since",
        "call_counts",
        "quality_bots",
        "users",
        "profile_progress",
        "progress",
    ),
    *("session_owner", "log_end", "log_groups", "log_bytes", "log_marks", "read_progress", "watched", "secret"),
    *("erasure_secret", "probe", "quality_cells", "quality_progress", "attribution_cells", "attribution_progress"),
    *("attribution_hours", "attribution_experiments", "attribution_facts", "experiment_sums", "shadow"),
    *("table_end", "table_progress", "document_counts", "table_changed_bytes", "table_marks", "table_bytes"),
    *("table_pulse", "mirror", "flow_members", "table_shards", "restoring", "mirroring"),
)
"""Families that hold bare numbers, names and times. They have no version: readers pass by fields that they do not know,
and what would mean something else gets a key of another name.
"""


def expect_known(name: str, version: int, remedy: str = "write it again") -> None:
    """Expect a version that is read. Raises NewerFormat for one beyond, ValueError for any other, with a remedy."""
    form = FORMATS[name]
    if form.newest < version <= form.newest + MOST_AHEAD:
        raise NewerFormat(
            f"expected {name} of version {form.newest} at most, got {version}: a newer release wrote it "
            "(docs/upgrading.md)"
        )
    if version not in form.read:
        taken = " or ".join(map(str, form.read))
        raise ValueError(f"expected {name} of version {taken}, got {version}: {remedy}")


def expect_mark(name: str, document: object) -> None:
    """Expect a JSON document whose version is read; one without a mark is of version 1. Raises as `expect_known`."""
    version = document.get(MARK, 1) if isinstance(document, dict) else 1
    if type(version) is int and version != 1:
        expect_known(name, version)


def marked(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON document with the version that is written; last, as some rows are known by how they begin."""
    return {**fields, MARK: FORMATS[name].written}


def as_table() -> list[dict[str, Any]]:
    """Return all forms as plain values, for another release to look at."""
    return [asdict(one) for one in FORMATS.values()]


_BOTH: Final = ("this release", "the other release")


def clashes(here: Iterable[Mapping[str, Any]], there: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what one of two releases writes and the other does not read; empty where they can run side by side. A
    form that only one of them has is none of the other's.
    """
    mine, theirs = ({one["name"]: one for one in table} for table in (here, there))
    found = []
    for name in mine.keys() & theirs.keys():
        for writer, reader, who, other in ((mine, theirs, *_BOTH), (theirs, mine, *_BOTH[::-1])):
            written, read = writer[name]["written"], reader[name]["read"]
            if written not in read:
                taken = ", ".join(map(str, read))
                found.append(f"{name}: {who} writes version {written}, which {other} does not read ({taken})")
    return sorted(found)
