"""What payloads of trackers are held to: every event that is made is one of ours, and the same when read again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import orjson

from connect.adapters import ADAPTERS
from connect.adapters.fields import LAST_MS
from contracts.plain_events import PlainEvent, check_event
from gateway.collect import sort_mapped
from gateway.events import sort_documents
from tests.connect.payloads import NOON
from tests.fuzz.target import Target

SORT = partial(sort_documents, now_ms=NOON + 60_000, partitions=8)


def collecting(vendor: str, valid: Mapping[str, bytes], words: tuple[bytes, ...]) -> Target:
    """Return the target of one vendor's adapter."""
    adapter = ADAPTERS[vendor]

    def check(raw: bytes) -> None:
        payload = orjson.loads(raw)
        for received_ms in (NOON + 60_000, None):
            mapped = list(adapter.read(payload, received_ms))
            assert mapped == list(adapter.read(payload, received_ms))
            for one in mapped:
                assert not (one.events and one.refused)
                for event in one.events:
                    assert isinstance(check_event(event, now_ms=LAST_MS), PlainEvent), event
            found, rejected = sort_mapped(mapped, SORT, now_ms=NOON + 60_000, partitions=8)
            for letter in found.letters:
                letter.detail.encode()
            for part in rejected:
                part.model_dump_json()

    return Target(
        check,
        valid,
        code=(f"connect.adapters.{vendor}", "connect.adapters.mapped", "connect.adapters.fields", "connect.prices"),
        refusals=(orjson.JSONDecodeError,),
        words=words,
    )
