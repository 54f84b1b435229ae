"""What the gateway records: files as docs/event-log-format.md says, whole sessions, and no request held up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from eventlog.contract import Record
from eventlog.files import read_events, read_header, read_raw, write_events
from eventlog.sampling import in_sample
from gateway.record_files import finish, keep_newest
from gateway.recording import Recorder, RecordingFailed
from gateway.settings import GatewaySettings, RecordOptions
from tests.gateway.conftest import Start, event
from tests.nextclick.trees import tree_of
from tests.small_disk import MakeDisk


def record(n: int, session: str = "s") -> Record:
    fields = {"v": 1, "event_id": f"e{n}", "type": "view", "session_id": session, "item_id": "i", "ts": 10_000 - n}
    return Record(session, orjson.dumps(fields))


def finished(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl.zst"))


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part.jsonl"))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def recorder(folder: Path, **options: Any) -> Recorder:
    made = Recorder(RecordOptions(to=str(folder), **options))
    made.start()
    return made


async def whole(folder: Path) -> None:
    """Wait until no part is left: a busy machine may finish it after the gateway has gone."""
    for _ in range(3000):
        if not parts(folder):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"expected no parts, got {names(folder)}")


async def written(recording: Recorder, events: int) -> None:
    for _ in range(30_000):
        if recording.line.counts.written >= events:
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"expected {events} events written, got {recording.line.counts}")


async def test_accepted_events_are_recorded_and_the_file_is_whole_when_the_gateway_stops(
    start: Start, tmp_path: Path
) -> None:
    client = await start(record=RecordOptions(to=str(tmp_path)))
    shown = {**event("e-3", request_id="q"), "type": "impression", "items": ["a", "b"]}
    del shown["item_id"]
    newer, older = event("e-1", campaign="spring"), event("e-2", ts=event("x")["ts"] - 5000)
    response = await client.post("/api/events", json=[newer, older, {"v": 2}, shown])
    assert (await response.json())["accepted"] == 3
    await client.close()
    await whole(tmp_path)
    (path,) = finished(tmp_path)
    header = read_header(path)
    assert (header.events, header.sessions, header.items, header.anonymised) == (3, 1, 3, False)
    recorded = list(read_events(path))
    assert recorded[0].event_id == "e-2"
    assert {one.event_id for one in recorded} == {"e-1", "e-2", "e-3"}
    assert next(one for one in recorded if one.event_id == "e-1").model_extra == {"campaign": "spring"}
    assert names(tmp_path) == [path.name]


async def test_a_sample_holds_whole_sessions(tmp_path: Path) -> None:
    recording = recorder(tmp_path, share=0.3)
    recording.offer([record(n, f"s{n % 100}") for n in range(400)])
    await recording.close(60)
    (path,) = finished(tmp_path)
    by_session: dict[str, int] = {}
    for one in read_events(path):
        by_session[one.session_id] = by_session.get(one.session_id, 0) + 1
    assert by_session == {f"s{n}": 4 for n in range(100) if in_sample(f"s{n}", 0.3)}
    assert 15 <= len(by_session) <= 45


def test_a_larger_sample_holds_every_smaller_one_and_all_is_all() -> None:
    sessions = [f"s{n}" for n in range(2000)]
    small, large = ({one for one in sessions if in_sample(one, share)} for share in (0.1, 0.4))
    assert small < large
    assert 150 <= len(small) <= 250
    assert all(in_sample(one, 1.0) for one in sessions)


async def test_a_full_file_is_followed_by_the_next_and_the_oldest_go(tmp_path: Path) -> None:
    for n in range(4):
        write_events(tmp_path / f"recorded-2020010{n}T000000-1-1.jsonl.zst", [])
    recording = recorder(tmp_path, events=10, files=4)
    for n in range(25):
        recording.offer([record(n)])
        await written(recording, n + 1)  # one by one, so that no batch is larger
    await recording.close(60)
    counts = [read_header(path).events for path in finished(tmp_path)]
    assert (len(counts), counts[0], sum(counts)) == (4, 0, 25)
    assert sorted(counts) == [0, 5, 10, 10]


def test_only_what_a_gateway_recorded_makes_room(tmp_path: Path) -> None:
    own = [tmp_path / f"recorded-2020010{n}T000000-1-1.jsonl.zst" for n in range(3)]
    for path in own:
        write_events(path, [])
    write_events(tmp_path / "recorded-before-the-sale.jsonl.zst", [])
    (tmp_path / "recorded-20190101T000000-1-1.jsonl.zst").write_bytes(b"somebody's own")
    (tmp_path / "recorded-20190102T000000-1-1.jsonl.zst").symlink_to(own[2])
    before = tree_of(tmp_path)
    keep_newest(tmp_path, 1)
    gone = {path.name for path in own[:2]}
    assert tree_of(tmp_path) == {name: one for name, one in before.items() if name not in gone}


async def test_a_file_that_is_no_part_is_neither_finished_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes(record(1).value + b"\n")
    (tmp_path / ".recorded-mine.part.jsonl").write_bytes(record(1).value + b"\n")
    (tmp_path / ".recorded-20200101T000000-1-1.part.jsonl").symlink_to("mine.jsonl")
    before = tree_of(tmp_path)
    await recorder(tmp_path).close(60)
    command = [sys.executable, "-m", "gateway.record_files", str(tmp_path / "mine.jsonl"), "9"]
    told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert (told.returncode, "expected a part that a gateway wrote" in told.stderr) == (1, True)
    assert tree_of(tmp_path) == before


async def test_a_recording_never_replaces_a_file_of_somebody_else(tmp_path: Path) -> None:
    part = tmp_path / ".recorded-20200101T000000-1-1.part.jsonl"
    part.write_bytes(record(1).value + b"\n")
    (tmp_path / "recorded-20200101T000000-1-1.jsonl.zst").write_bytes(b"somebody's own")
    before = tree_of(tmp_path)
    command = [sys.executable, "-m", "gateway.record_files", str(part), "9"]
    told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stderr.startswith(f"{part} stays a part: ")
    assert "Traceback" not in told.stderr
    assert tree_of(tmp_path) == before


async def test_a_file_is_finished_when_it_is_old_enough(tmp_path: Path) -> None:
    now_ms = [1_000_000]
    recording = Recorder(RecordOptions(to=str(tmp_path), seconds=60), clock=lambda: now_ms[0])
    recording.start()
    recording.offer([record(1)])
    await written(recording, 1)
    await recording.tick()
    assert len(parts(tmp_path)) == 1
    now_ms[0] += 60_000
    await recording.tick()
    await whole(tmp_path)
    assert read_header(finished(tmp_path)[0]).events == 1
    await recording.close(60)


async def test_what_the_line_has_no_room_for_is_left_out_and_counted(tmp_path: Path) -> None:
    recording = recorder(tmp_path, max_waiting=5)
    recording.offer([record(n) for n in range(8)])
    await recording.close(60)
    assert (recording.line.counts.written, recording.line.counts.dropped) == (5, 3)
    assert read_header(finished(tmp_path)[0]).events == 5


KILLED = """
import asyncio, os, sys
from pathlib import Path
from gateway.recording import Recorder
from gateway.settings import RecordOptions
from tests.gateway.test_recording import record, written

async def main():
    recording = Recorder(RecordOptions(to=sys.argv[1]))
    recording.start()
    recording.offer([record(n) for n in range(7)])
    await written(recording, 7)
    recording._part.file.write(b'{"v":1,"event_id":"cut')
    recording._part.file.flush()
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_what_a_killed_process_left_is_finished_by_the_next(tmp_path: Path) -> None:
    outcome = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert outcome.returncode == -9
    (left,) = parts(tmp_path)
    assert finished(tmp_path) == []
    recording = recorder(tmp_path)
    await recording.close(60)
    (path,) = finished(tmp_path)
    assert read_header(path).events == 7
    assert not left.exists()


async def test_a_part_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    writing = recorder(tmp_path)
    writing.offer([record(1)])
    await written(writing, 1)
    (part,) = parts(tmp_path)
    assert finish(part) is None
    other = recorder(tmp_path)
    await other.close(60)
    assert part.exists()
    await writing.close(60)
    assert [read_header(path).events for path in finished(tmp_path)] == [1]


def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingFailed, match="cannot be written here"):
        recorder(tmp_path / "file" / "below")


def test_nothing_is_recorded_unless_told() -> None:
    assert GatewaySettings().record.to == ""


async def until_failed(recording: Recorder, session: str) -> int:
    """Offer events until the disk does not take them; return how many were written."""
    for n in range(100_000):
        recording.offer([record(n, session)])
        while recording.line.waiting:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)
        if recording.line.counts.failed:
            break
    return recording.line.counts.written


async def test_a_full_disk_leaves_events_out_and_no_line_is_torn(
    make_disk: MakeDisk, caplog: pytest.LogCaptureFixture
) -> None:
    disk = make_disk(4)
    recording = recorder(disk.folder / "recorded")
    disk.fill(leave=1 << 16)
    taken = await until_failed(recording, "x" * 3000)
    recording.offer([record(n, "y" * 3000) for n in range(10)])
    while recording.line.waiting:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.01)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "recorded events are not written: waiting" in caplog.text
    assert "No space left on device" in caplog.text
    disk.clear()
    recording.offer([record(1, "after")])
    await written(recording, taken + 1)
    await recording.close(60)
    (path,) = finished(disk.folder / "recorded")
    sessions = [orjson.loads(line)["session_id"] for line in read_raw(path)]
    assert sessions.count("x" * 3000) == taken
    assert read_header(path).events == taken + 1


async def test_a_part_that_cannot_be_finished_is_tried_again_and_said_once(
    make_disk: MakeDisk, caplog: pytest.LogCaptureFixture
) -> None:
    disk, now_ms = make_disk(4), [1_000_000]
    folder = disk.folder / "recorded"
    recording = Recorder(RecordOptions(to=str(folder), seconds=60), clock=lambda: now_ms[0])
    recording.start()
    recording.offer([record(n, str(n)) for n in range(100)])
    await written(recording, 100)
    disk.fill()
    tries_after = 0
    for _ in range(3000):  # until it is said, then tried and tried
        now_ms[0] += 60_000
        await recording.tick()
        await asyncio.sleep(0.02)
        tries_after += "recordings are not finished: waiting" in caplog.text
        if tries_after > 40:
            break
    assert len(parts(folder)) == 1
    disk.clear()
    for _ in range(3000):
        now_ms[0] += 60_000
        await recording.tick()
        if not parts(folder):
            break
        await asyncio.sleep(0.02)
    await recording.close(60)
    assert read_header(finished(folder)[0]).events == 100
    assert caplog.text.count("recordings are not finished: waiting") == 1
    assert caplog.text.count("recordings are not finished: going on") == 1


def test_a_line_that_was_torn_is_left_out_alone(tmp_path: Path) -> None:
    part = tmp_path / ".recorded-1.part.jsonl"
    part.write_bytes(record(1).value + b"\n" + record(2).value[:20] + record(3).value + b"\n" + record(4).value + b"\n")
    path = finish(part)
    assert path is not None
    assert {event.event_id for event in read_events(path)} == {"e1", "e4"}
