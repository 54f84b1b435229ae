from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ImportFormatError, SettingsError
from contracts.events import Event, parse_event
from eventlog.files import read_events, read_header, read_raw, write_events
from replay.engine.anonymise import Anonymiser, anonymise_log

KEY = b"sixteen bytes...."
NAMES = st.sampled_from(["a", "b", "c", "ä", "a" * 256])


def event(n: int, session: str, item: str, **more: Any) -> dict[str, Any]:
    fields = {"v": 1, "event_id": f"e{n}", "type": "view", "session_id": session, "item_id": item, "ts": 1000 + n}
    return {**fields, **more}


def test_ids_become_hashes_that_depend_on_the_key_and_on_what_they_name() -> None:
    one = Anonymiser(KEY).fields(event(1, "x", "x", user_id="x"))
    other = Anonymiser(b"another key, as long").fields(event(1, "x", "x", user_id="x"))
    assert len({one["session_id"], one["item_id"], one["user_id"], other["session_id"], other["item_id"]}) == 5
    assert all(len(one[name]) == 24 for name in ("event_id", "session_id", "item_id", "user_id"))
    assert Anonymiser(KEY).fields(event(1, "x", "x", user_id="x")) == one


def test_what_could_name_a_visitor_is_left_out() -> None:
    context = {"device": "phone", "region": "DE", "age": 30, "ip": "192.0.2.7", "referrer": "https://x.example/u/" * 3}
    found = Anonymiser(KEY).fields(event(1, "s", "i", email="a@b.example", value=2.5, request_id="q", context=context))
    assert found["context"] == {"device": "phone", "region": "DE", "age": 30}
    assert (found["value"], found["ts"], found["type"]) == (2.5, 1001, "view")
    assert set(found) == {
        "v", "type", "ts", "value", "event_id", "session_id", "item_id", "request_id", "context"
    }  # fmt: skip
    assert found["request_id"] != "q"


def test_items_can_stay_as_they_are() -> None:
    shown = {"v": 1, "event_id": "e", "type": "impression", "session_id": "s", "ts": 5, "items": ["i1", "i2"]}
    assert Anonymiser(KEY, keep_items=True).fields(shown)["items"] == ["i1", "i2"]
    hashed = Anonymiser(KEY).fields(shown)["items"]
    assert hashed == [Anonymiser(KEY).item_id("i1"), Anonymiser(KEY).item_id("i2")]
    assert "i1" not in hashed


def test_a_short_key_is_refused() -> None:
    with pytest.raises(SettingsError, match="at least 16 bytes, got 5"):
        Anonymiser(b"short")


@given(st.lists(st.tuples(NAMES, NAMES, st.none() | NAMES, st.integers(min_value=0, max_value=3)), max_size=30))
def test_order_times_and_repeats_stay(rows: list[tuple[str, str, str | None, int]]) -> None:
    events = [event(n * pause, session, item, user_id=user) for n, (session, item, user, pause) in enumerate(rows)]
    found = list(Anonymiser(KEY).lines(map(orjson.dumps, events)))
    assert [one["ts"] for one in found] == [one["ts"] for one in events]
    for name in ("event_id", "session_id", "item_id", "user_id"):
        names = [(one.get(name), other.get(name)) for one, other in zip(events, found, strict=True)]
        assert len(set(names)) == len({one for one, _ in names}) == len({other for _, other in names})
        assert all((one is None) == (other is None) for one, other in names)
    assert all(isinstance(parse_event(one, now_ms=10**12), Event) for one in found)


@pytest.mark.parametrize("raw", [b"{", b'{"type":"view"}', b"7"])
def test_what_is_no_event_is_named_by_its_place(raw: bytes) -> None:
    event = b'{"event_id":"e","session_id":"s","type":"view","ts":1}'
    with pytest.raises(ImportFormatError, match="event 2 of the recording is none"):
        list(Anonymiser(b"k" * 16).lines([event, raw]))


def test_a_recording_is_anonymised_whole_and_says_so(tmp_path: Path) -> None:
    source, out = tmp_path / "day.jsonl.zst", tmp_path / "shared.jsonl.zst"
    write_events(source, [event(n, f"visitor{n % 2}", f"item{n % 3}") for n in range(6)])
    header = anonymise_log(source, out, Anonymiser(KEY))
    before = read_header(source)
    assert read_header(out) == header
    assert header.anonymised
    assert not before.anonymised
    assert (header.events, header.sessions, header.items, header.first_ms) == (6, 2, 3, 1000)
    text = b"".join(read_raw(out))
    assert b"visitor" not in text
    assert KEY not in text
    assert [one.ts for one in read_events(out)] == [1000, 1001, 1002, 1003, 1004, 1005]
