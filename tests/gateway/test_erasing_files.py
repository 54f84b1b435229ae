"""Files without a visitor, whoever is killed while they are written; and records in which one of many names stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.files import read_header, read_raw, write_events
from gateway import erasing_files
from gateway.erasing import Work, names_any
from gateway.erasing_files import Recordings, began_ms
from rights.erasure import Erasure, Names, Subject, told_in

NAME = "recorded-20261129T080000-7-1.jsonl.zst"
AT_MS = 1_795_939_300_000


class Killed(BaseException):
    """The process dies."""


def work(*, at_ms: int = AT_MS) -> Work:
    return Work(Erasure("e", Subject.USER, "h", at_ms), Names("anna", frozenset({"s1"})), {}, forgot=True)


def recording(folder: Path, *whose: tuple[str, str | None], name: str = NAME) -> Path:
    events: list[dict[str, Any]] = [
        {"v": 1, "event_id": f"e{at}", "type": "view", "item_id": "i", "session_id": session, "ts": 1000 + at}
        | ({} if user is None else {"user_id": user})
        for at, (session, user) in enumerate(whose)
    ]
    write_events(folder / name, events)
    return folder / name


def ids_in(path: Path) -> list[str]:
    return [orjson.loads(line)["event_id"] for line in read_raw(path)]


def test_a_recording_is_written_again_without_a_visitor_and_counts_what_is_left(tmp_path: Path) -> None:
    path = recording(tmp_path, ("s1", None), ("s2", "anna"), ("s1", "ben"), ("s3", None))
    assert Recordings(tmp_path).sweep(work()) == {"file:recordings": 2}
    assert ids_in(path) == ["e2", "e3"]
    header = read_header(path)
    assert (header.events, header.sessions) == (2, 2)
    assert Recordings(tmp_path).sweep(work()) == {"file:recordings": 0}


def test_a_recording_of_nobody_else_goes_and_one_that_began_later_stays(tmp_path: Path) -> None:
    alone, later = recording(tmp_path, ("s1", None)), "recorded-20261130T080000-7-1.jsonl.zst"
    assert began_ms(alone) == 1_795_939_200_000
    kept = recording(tmp_path, ("s1", None), name=later)
    assert Recordings(tmp_path).sweep(work()) == {"file:recordings": 1}
    assert not alone.exists()
    assert ids_in(kept) == ["e0"]


def test_whoever_is_killed_while_a_recording_is_written_again_leaves_the_old_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recording(tmp_path, ("s1", None), ("s2", None), ("s3", None))
    before, reads = path.read_bytes(), iter(range(10))

    def dies(read: Path) -> Iterator[bytes]:
        second = next(reads) == 1
        for at, line in enumerate(read_raw(read)):
            if second and at == 2:
                raise Killed
            yield line

    with monkeypatch.context() as patch:
        patch.setattr(erasing_files, "read_raw", dies)
        with pytest.raises(Killed):
            Recordings(tmp_path).sweep(work())
    assert path.read_bytes() == before
    assert Recordings(tmp_path).sweep(work()) == {"file:recordings": 1}
    assert ids_in(path) == ["e1", "e2"]


names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)


@given(
    known=st.lists(names, min_size=1, max_size=30, unique=True),
    session=names,
    user=st.none() | names,
    at=st.integers(0),
)
def test_a_record_that_names_one_of_few_or_many_is_never_passed_by(
    known: list[str], session: str, user: str | None, at: int
) -> None:
    session = known[at % len(known)] if at % 3 == 0 else session
    user = known[at % len(known)] if at % 3 == 1 else user
    raw = msgspec.json.encode({"session_id": session, "user_id": user, "ts": 1})
    told = told_in(raw)
    assert told is not None
    if told.session_id in known or told.user_id in known:
        assert names_any(known)(raw)
