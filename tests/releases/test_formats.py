"""Forms of what is kept: all are in the one table, rows of the last release are read, those of a newer one are told."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import orjson
import pytest

from contracts import codec, profiles
from contracts.events import SCHEMA_VERSION
from contracts.formats import (
    FORMATS,
    KEPT_IN,
    MARK,
    OF_NUMBERS,
    Encoding,
    NewerFormat,
    as_table,
    clashes,
    expect_known,
    expect_mark,
)
from contracts.settings import RedisSettings
from flows.trend_recovery import STATE_VERSION
from nextclick.stack.backup.manifest import LAYOUT
from registry.version import FORMAT_VERSION as VERSION_FORMAT
from registry.version import ModelVersion
from rerank.ranker import FORMAT_VERSION as RANKER_FORMAT
from retrieval.snapshot_folder import FORMAT as SNAPSHOT_FORMAT
from rights.capsule import VERSION as CAPSULE_VERSION
from rights.places import Kind, places_of
from session_model.artifact import FORMAT as MODEL_FORMAT
from state.presence import processes_of
from state.profiles import ProfileStore
from state.users import UserStore
from tests.releases.last import kept
from tests.releases.rows import KINDS, MS, read, written
from tests.rights.test_places import families

LAST = kept()
FIRST_BYTE = ("session", "catalogue_row", "trend", "showings", "ended")
OF_ANY_NAMES = ("buckets", "cells", "patch", "overrides", "pinned")
SINCE = {"call_failure", "campaign_file", "feeds"}
"""Forms that the last release did not have yet: the next one's rows have them."""
OF_NO_FORM = {"append_only_file": "Redis's own", "process_logs": "lines for people"}


def row(name: str) -> bytes:
    return base64.b64decode(written()[name])


def test_every_key_family_has_its_forms_in_the_table_or_holds_bare_numbers() -> None:
    assert families() - KEPT_IN.keys() - set(OF_NUMBERS) == set()
    assert KEPT_IN.keys() - families() == set(), "forms of keys that there are not"
    assert set(OF_NUMBERS) - families() == set()
    assert KEPT_IN.keys() & set(OF_NUMBERS) == set()
    assert {form for forms in KEPT_IN.values() for form in forms} <= FORMATS.keys()


def test_every_kind_of_file_has_its_form_in_the_table() -> None:
    files = {place.name for place in places_of(Kind.FILE)}
    assert files - FORMATS.keys() == OF_NO_FORM.keys()


def test_the_table_says_what_the_code_does() -> None:
    said = {name: form.written for name, form in FORMATS.items()}
    assert said["session"] == codec.SESSION_CODEC
    assert said["catalogue_row"] == codec.ROW_CODEC
    assert said["trend"] == codec.TREND_CODEC
    assert said["showings"] == codec.SHOWINGS_CODEC
    assert said["ended"] == codec.ENDED_TAKEN_CODEC
    assert said["profile"] == profiles.PROFILE_CODEC
    assert said["event"] == said["recordings"] == SCHEMA_VERSION
    assert said["snapshots"] == SNAPSHOT_FORMAT
    assert said["session_model"] == MODEL_FORMAT
    assert said["reranker"] == RANKER_FORMAT
    assert said["model_versions"] == VERSION_FORMAT
    assert said["backups"] == LAYOUT
    assert said["trends_store"] == STATE_VERSION
    assert said["capsule"] == CAPSULE_VERSION
    assert all(form.written in form.read for form in FORMATS.values())


def test_every_form_of_rows_log_and_tokens_has_a_row_of_the_last_release() -> None:
    files = {one.name for one in FORMATS.values() if one.encoding is Encoding.FILES} - KINDS.keys()
    assert KINDS.keys() == FORMATS.keys() - files - SINCE == LAST["rows"].keys()


def test_rows_of_the_last_release_are_read_as_it_read_them() -> None:
    assert read(LAST["rows"]) == LAST["read"]
    assert not [name for name, text in LAST["read"].items() if text.startswith("REFUSED")]


def test_what_this_release_writes_says_the_same() -> None:
    assert read(written()) == LAST["read"]


def test_this_release_and_the_last_one_can_run_side_by_side() -> None:
    assert clashes(as_table(), LAST["forms"]) == []


def test_a_release_that_writes_what_the_other_does_not_read_is_told() -> None:
    here, there = ({"name": "session", "written": 2, "read": (1, 2)}, {"name": "session", "written": 1, "read": (1,)})
    told = ["session: this release writes version 2, which the other release does not read (1)"]
    assert clashes([here], [there]) == told
    assert clashes([here], [{**there, "read": (1, 2)}]) == []
    assert clashes([here], []) == []


@pytest.mark.parametrize("name", FIRST_BYTE)
def test_bytes_of_a_newer_release_are_told_from_damage(name: str) -> None:
    newer = bytes((FORMATS[name].newest + 1,)) + row(name)[1:]
    with pytest.raises(NewerFormat, match=rf"expected {name} of version \d at most, got \d: a newer release wrote it"):
        KINDS[name][1](newer)
    with pytest.raises(ValueError, match=r"got 0|got b'") as raised:
        KINDS[name][1](b"\0" + row(name)[1:])
    assert not isinstance(raised.value, NewerFormat)


def test_a_unit_of_a_newer_release_is_told_whatever_else_it_holds() -> None:
    for newer in ([2], [2, "another", {}]):
        with pytest.raises(NewerFormat, match="expected attribution_unit of version 1 at most, got 2"):
            KINDS["attribution_unit"][1](msgspec.msgpack.encode(newer))


@pytest.mark.parametrize("name", ["scenario", "experiment", "api_key", "bandit_shares", "experiment_report", "user"])
def test_a_document_of_a_newer_version_is_told(name: str) -> None:
    newer = orjson.dumps({**orjson.loads(row(name)), MARK: 2})
    with pytest.raises(NewerFormat, match=f"expected {name} of version 1 at most, got 2"):
        KINDS[name][1](newer)


def deepened(document: Any, name: str = "") -> Any:
    """Return a document with a field that nobody knows in each object whose fields are ours."""
    if isinstance(document, list):
        return [deepened(one, name) for one in document]
    if not isinstance(document, dict) or name in OF_ANY_NAMES:
        return document
    return {**{of: deepened(one, of) for of, one in document.items()}, "of_tomorrow": {"x": 1}}


@pytest.mark.parametrize("name", ["scenario", "experiment", "api_key", "bandit_shares", "experiment_report"])
def test_fields_of_a_newer_release_are_passed_by(name: str) -> None:
    more = orjson.dumps(deepened(orjson.loads(row(name))))
    assert b"of_tomorrow" in more
    assert read({name: base64.b64encode(more).decode()})[name] == LAST["read"][name]


def test_a_field_of_a_newer_release_is_kept_in_a_users_document() -> None:
    assert KINDS["user"][1](b'{"age":30,"of_tomorrow":1}') == {"age": 30, "of_tomorrow": 1}


def test_a_version_of_the_models_with_a_field_of_a_newer_release_is_whole() -> None:
    fields = {**orjson.loads(row("model_versions")), "of_tomorrow": 1}
    sealed = ModelVersion.model_validate(fields).sealed().model_dump_json()
    assert ModelVersion.model_validate_json(sealed).whole
    assert not ModelVersion.model_validate_json(sealed.replace('"of_tomorrow":1', '"of_tomorrow":2')).whole


def test_the_line_of_a_newer_process_is_passed_by_and_stays() -> None:
    lines = {b"a": row("process"), b"b": orjson.dumps({MARK: 2, "other": 1}), b"c": b"{}"}
    found, old = processes_of(lines, MS)
    assert ([one.name for one in found], old) == (["gateway:h:1"], [b"c"])


def test_a_mark_that_is_no_number_is_none() -> None:
    for document in ({MARK: "2"}, {MARK: True}, {MARK: None}, [], 3):
        expect_mark("user", document)
    with pytest.raises(ValueError, match="expected trend of version 4, got 3: write it again"):
        expect_known("trend", 3)
    with pytest.raises(ValueError, match="expected session of version 1, got 255") as raised:
        expect_known("session", 255)
    assert not isinstance(raised.value, NewerFormat)


def test_what_a_newer_release_knows_of_a_user_is_not_overwritten_and_can_be_deleted(
    redis_settings: RedisSettings,
) -> None:
    store = UserStore(redis_settings, partitions=4)
    store.change("u-1", lambda _: {"age": 30})
    [key] = store._redis.keys(f"{redis_settings.prefix}:*:user:u-1")
    store._redis.set(key, b'{"age":30,"v":2}')
    assert store.get("u-1") is None
    with pytest.raises(Exception, match="a newer release wrote it"):
        store.change("u-1", lambda found: {**(found or {}), "age": 31})
    assert store._redis.get(key) == b'{"age":30,"v":2}'
    assert store.forget("u-1", now_ms=MS) == (True, False)
    assert store._redis.get(key) is None
    store.close()


def test_a_profile_of_a_newer_release_is_told_apart_from_none(redis_settings: RedisSettings) -> None:
    store = ProfileStore(redis_settings, keep_ms=10**6)
    raw = bytearray(row("profile"))
    raw[profiles.REVISION_BYTES] = 2
    store._redis.set(store._keys.profile(0, "new"), bytes(raw))
    store._redis.set(store._keys.profile(0, "cut"), bytes(raw[:5]))
    store._redis.set(store._keys.profile(0, "text"), b"no profile at all, but a text")
    [users] = store.load(0, {0: ["new", "cut", "text", "none"]})
    assert users.newer == ["new"]
    assert [profile for _, profile in users.stored.values()] == [None] * 4
    store.close()
