"""What people wrote, in a second region: all of it, nothing that flows make, and gone where it went."""

from __future__ import annotations

import re
import uuid
from contextlib import closing

import pytest
import redis

from contracts.keys import API_KEYS, REFUSALS, SCENARIOS, Keys
from contracts.settings import RedisSettings
from state.document_copies import CopiedDocuments, OriginalEmptied, copy_documents, is_document
from state.tables import TableReader, TableWriter


@pytest.fixture
def copy(redis_settings: RedisSettings) -> RedisSettings:
    return redis_settings.model_copy(update={"prefix": f"copy{uuid.uuid4().hex[:8]}"})


DOCUMENTS = {"user", "users", "secret", "erasure_secret", "audit", "document_versions", "document_counts"} | {
    *("table_rows", "table_changes", "table_end", "table_progress", "table_changed_bytes", "table_marks"),
    *("table_bytes", "table_pulse", "table_shards"),
}
"""Families that hold what people wrote; those of tables, where the table is one that people write."""


def test_every_family_of_keys_is_a_document_or_made_again_from_the_log() -> None:
    keys = Keys("nc")
    found = set()
    for name in (name for name in dir(Keys) if not name.startswith("_") and name != "prefix"):
        method = getattr(keys, name)
        names = list(method.__annotations__)[:-1]
        values = {"partition": 3, "item": 5, "bucket": 1, "hour": 1, "day": 1, "step": 1, "table": SCENARIOS}
        made = method(*(values.get(one, "x") for one in names))
        if is_document(re.sub("^nc:", "", made).encode()):
            found.add(name)
    assert found == DOCUMENTS
    assert not is_document(b"{items}:rows")
    assert not is_document(b"{p3}:session:a\nuser:b")
    assert is_document(b"{p3}:user:a\nb")


def test_the_copys_tables_are_followed_and_users_come_and_go(
    redis_settings: RedisSettings, copy: RedisSettings
) -> None:
    keys, copied = Keys(redis_settings.prefix), Keys(copy.prefix)
    writers = {table: TableWriter(redis_settings, table) for table in (SCENARIOS, API_KEYS, REFUSALS)}
    for table, writer in writers.items():
        writer.commit({b"a": table.encode()})
    with redis.Redis.from_url(redis_settings.url) as client, closing(TableReader(copy, SCENARIOS)) as reader:
        client.set(keys.user(1, "anna"), b'{"a":1}')
        client.set(keys.user(2, "ben"), b"{}")
        client.set(keys.session(1, "s"), b"flows make it", px=60_000)
        client.set(copied.session(1, "own"), b"the copy's own")
        copy_documents(redis_settings, copy)
        assert client.get(copied.user(1, "anna")) == b'{"a":1}'
        assert client.exists(copied.session(1, "s")) == 0
        assert client.get(copied.session(1, "own")) == b"the copy's own"
        since = reader.begin()
        writers[SCENARIOS].commit({b"b": b"new"}, [b"a"])
        client.delete(keys.user(2, "ben"))
        done = copy_documents(redis_settings, copy)
        assert [(change.key, change.row) for change in reader.changes(since)] == [(b"b", b"new"), (b"a", None)]
        assert client.exists(copied.user(2, "ben")) == 0
        assert done.removed == 1
        assert copy_documents(redis_settings, copy) == CopiedDocuments(done.keys, 0)
    for writer in writers.values():
        writer.close()


def test_an_original_that_was_emptied_takes_nothing_from_its_copy(
    redis_settings: RedisSettings, copy: RedisSettings
) -> None:
    keys, copied = Keys(redis_settings.prefix), Keys(copy.prefix)
    with redis.Redis.from_url(redis_settings.url) as client:
        client.set(copied.secret(), b"the copy's own gateways made one")
        client.set(keys.secret(), b"of the original")
        client.set(keys.user(1, "anna"), b'{"consent":{"marketing":false}}')
        copy_documents(redis_settings, copy)
        assert copy_documents(redis_settings, copy) == CopiedDocuments(2, 0)
        for emptied in ([keys.secret(), keys.user(1, "anna")], [keys.user(1, "anna")]):
            client.delete(*emptied)
            with pytest.raises(OriginalEmptied, match="the copy keeps what it has"):
                copy_documents(redis_settings, copy)
            assert client.get(copied.user(1, "anna")) == b'{"consent":{"marketing":false}}'
            client.set(keys.secret(), b"of gateways that started on what was empty")
        client.set(keys.secret(), b"of the original")  # restored
        client.set(keys.user(1, "anna"), b"{}")
        assert copy_documents(redis_settings, copy) == CopiedDocuments(2, 0)
        client.delete(keys.user(1, "anna"), keys.secret())
        client.hdel(copied.mirror(), "documents_of")  # it is meant
        assert copy_documents(redis_settings, copy).removed == 2


def test_nothing_written_is_nothing_copied(redis_settings: RedisSettings, copy: RedisSettings) -> None:
    assert copy_documents(redis_settings, copy) == CopiedDocuments(0, 0)
