from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import ImportFormatError
from contracts.events import Event
from contracts.items import Item
from eventlog.files import (
    BrokenLine,
    Header,
    read_events,
    read_header,
    read_items,
    read_raw,
    write_events,
    write_items,
)


def click(n: int, *, session: str = "s1", item: str = "i1", ts: int | None = None, **more: Any) -> dict[str, Any]:
    fields = {"v": 1, "event_id": f"e{n}", "type": "view", "session_id": session, "item_id": item}
    return {**fields, "ts": n if ts is None else ts, **more}


CLICKS = [click(1), click(2, session="s2", colour="red"), click(2, item="i2", context={"device": "phone"})]


@pytest.mark.parametrize("name", ["day.jsonl.zst", "day.jsonl"])
def test_what_was_written_is_read_back_in_order(tmp_path: Path, name: str) -> None:
    header = write_events(tmp_path / name, CLICKS)
    assert header == Header(events=3, sessions=2, items=2, first_ms=1, last_ms=2, sorted=True, anonymised=False)
    assert read_header(tmp_path / name) == header
    assert [orjson.loads(line) for line in read_raw(tmp_path / name)] == CLICKS
    assert list(read_events(tmp_path / name)) == [Event.model_validate(fields) for fields in CLICKS]


def test_events_mappings_and_bytes_are_written_alike(tmp_path: Path) -> None:
    kinds: list[Event | dict[str, Any] | bytes] = [CLICKS[0], Event.model_validate(CLICKS[1]), orjson.dumps(CLICKS[2])]
    write_events(tmp_path / "a.jsonl.zst", kinds)
    assert [orjson.loads(line) for line in read_raw(tmp_path / "a.jsonl.zst")] == CLICKS


def test_the_header_comes_first_and_any_zstd_tool_reads_the_file(tmp_path: Path) -> None:
    write_events(tmp_path / "a.jsonl.zst", CLICKS, anonymised=True)
    with open(tmp_path / "a.jsonl.zst", "rb") as file:
        text = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    lines = text.splitlines()
    assert len(lines) == 4
    assert orjson.loads(lines[0]) == {
        "format": "nextclick-events",
        "v": 1,
        "events": 3,
        "sessions": 2,
        "items": 2,
        "first_ms": 1,
        "last_ms": 2,
        "sorted": True,
        "anonymised": True,
    }


def test_an_impression_counts_the_items_it_shows(tmp_path: Path) -> None:
    impression = {**click(1), "type": "impression", "item_id": None, "items": ["a", "b"]}
    assert write_events(tmp_path / "a.jsonl.zst", [impression]).items == 2


def test_a_log_without_events_is_a_header_alone(tmp_path: Path) -> None:
    header = write_events(tmp_path / "a.jsonl.zst", [])
    assert (header.events, header.first_ms, header.last_ms) == (0, None, None)
    assert list(read_events(tmp_path / "a.jsonl.zst")) == []


def test_events_out_of_order_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(ImportFormatError, match=r"event 2: .* got ts 1 after 5: sort them first"):
        write_events(tmp_path / "a.jsonl.zst", [click(1, ts=5), click(2, ts=1)])
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    write_events(path, CLICKS)

    def failing() -> Iterator[dict[str, Any]]:
        yield CLICKS[0]
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        write_events(path, failing())
    assert read_header(path).events == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jsonl.zst"]


def test_a_broken_line_raises_with_file_and_line_or_is_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good, late = orjson.dumps(CLICKS[0]), orjson.dumps(CLICKS[2])
    bad_version = orjson.dumps({**CLICKS[0], "v": 9})
    path.write_bytes(b"\n".join([good, b"{not json", bad_version, b'{"v":1}', late]))
    with pytest.raises(ImportFormatError, match=r"a\.jsonl:2: not_json"):
        list(read_events(path))
    broken: list[BrokenLine] = []
    assert [event.event_id for event in read_events(path, on_error=broken.append)] == ["e1", "e2"]
    assert [(line.line, line.reason) for line in broken] == [(2, "not_json"), (3, "unknown_version"), (4, "invalid")]
    assert "event_id" in broken[2].detail


def test_a_file_that_was_cut_short_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_events(path, CLICKS)
    path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:3]))
    with pytest.raises(ImportFormatError, match="header counts 3 events, the file holds 2"):
        list(read_raw(path))
    packed = tmp_path / "b.jsonl.zst"
    write_events(packed, [click(n, item=f"item {n}") for n in range(10_000)])
    packed.write_bytes(packed.read_bytes()[:-2000])
    with pytest.raises(ImportFormatError, match="header counts 10000 events"):
        list(read_raw(packed))


def test_something_that_is_not_a_recorded_log_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(gzip.compress(b"{}"))
    with pytest.raises(ImportFormatError, match="expected zstd"):
        read_header(tmp_path / "a.jsonl.zst")
    (tmp_path / "b.jsonl").write_bytes(orjson.dumps(CLICKS[0]))
    with pytest.raises(ImportFormatError, match="expected a header line"):
        read_header(tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl").write_bytes(b'{"format":"nextclick-events","v":2}\n')
    with pytest.raises(ImportFormatError, match=r"expected nextclick-events of v=1, got v=2"):
        list(read_raw(tmp_path / "c.jsonl"))


def test_progress_is_told_the_number_of_events(tmp_path: Path) -> None:
    told: list[int] = []
    write_events(tmp_path / "a.jsonl.zst", [click(n) for n in range(25_000)], progress=told.append)
    assert told == [10_000, 20_000, 25_000]


def test_items_are_read_back_and_broken_ones_are_handed_over(tmp_path: Path) -> None:
    items = [("a", Item(title="Boot", price=80.0, regions=["NL"], attributes={"size": 42})), ("b", Item(title="Shoe"))]
    assert write_items(tmp_path / "items.jsonl.zst", items) == 2
    assert list(read_items(tmp_path / "items.jsonl.zst")) == items
    path = tmp_path / "items.jsonl"
    path.write_bytes(b'{"item_id":"a","title":"A"}\n\n{"title":"B"}\n{"item_id":"c","title":"C","price":-1}\n[]\n{\n')
    broken: list[BrokenLine] = []
    assert [item_id for item_id, _ in read_items(path, on_error=broken.append)] == ["a"]
    assert [(line.line, line.reason) for line in broken] == [
        (3, "invalid"),
        (4, "invalid"),
        (5, "invalid"),
        (6, "not_json"),
    ]
    with pytest.raises(ImportFormatError, match=r"items\.jsonl:3: invalid: item_id: expected a string"):
        list(read_items(path))


NAMES = st.text(min_size=1, max_size=20)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "v": st.just(1),
            "event_id": NAMES,
            "type": st.sampled_from(["view", "cart", "purchase", "wishlist"]),
            "session_id": NAMES,
            "item_id": NAMES,
            "ts": st.integers(min_value=0, max_value=253_402_300_799_999),
        },
        optional={"value": st.floats(allow_nan=False, allow_infinity=False), "context": st.dictionaries(NAMES, NAMES)},
    ),
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(EVENTS)
def test_any_events_survive_the_round_trip(tmp_path: Path, events: list[dict[str, Any]]) -> None:
    events.sort(key=lambda fields: fields["ts"])
    validated = [Event.model_validate(fields) for fields in events]
    header = write_events(tmp_path / "a.jsonl.zst", validated)
    assert list(read_events(tmp_path / "a.jsonl.zst")) == validated
    assert header.events == len(events)
    assert header.sessions == len({fields["session_id"] for fields in events})
    assert header.items == len({fields["item_id"] for fields in events})
