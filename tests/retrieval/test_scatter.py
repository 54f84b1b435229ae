"""Shards that hang, vanish or talk nonsense: they are left out in time, and the others answer all the same."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.scatter import Scatter
from retrieval.shard_frames import Answer, Search, encode_answer
from retrieval.shard_heads import HEADER, Kind, framed
from retrieval.shard_line import Names
from retrieval.shard_sockets import Door
from tests.retrieval.sharded import served

SEARCH = Search(7, 0, 0, 2, np.ones((1, 4), np.float32))
ANSWER = Answer((3,), np.array([[5, 6]], np.uint64), np.array([[0.5, 0.25]], np.float32))
SHORT_S, PATIENT_S = 2.0, 30.0


@contextmanager
def well(folder: Path, name: str) -> Iterator[str]:
    """Give the address of a shard that answers."""
    with served(Door(f"unix:{folder}/{name}.sock", lambda _: ANSWER)) as door:
        yield door.address


@contextmanager
def lost_machine() -> Iterator[str]:
    """Give an address whose connections never come about: packets to it are dropped, as with a machine that is off."""
    with ExitStack() as stack:
        listener = stack.enter_context(closing(socket.socket()))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("lost_first", [True, False])
def test_a_machine_that_is_lost_takes_no_other_shard_with_it(tmp_path: Path, lost_first: bool) -> None:
    with lost_machine() as lost, well(tmp_path, "a") as a, well(tmp_path, "b") as b:
        scatter = Scatter([lost, a, b] if lost_first else [a, b, lost], SHORT_S)
        for _ in range(2):
            began = monotonic()
            answers = scatter.ask(SEARCH)
            assert monotonic() - began < SHORT_S + PATIENT_S
            assert [answer is not None for answer in answers] == [not lost_first, True, lost_first]
            for line in scatter.lines:
                line.rests_until = 0.0
        at = 0 if lost_first else 2
        assert [sum(line.missed.values()) for line in scatter.lines] == [2 * (shard == at) for shard in range(3)]
        scatter.close()


def test_a_name_that_no_resolver_answers_keeps_no_question_waiting() -> None:
    over = threading.Event()

    def silent(*_: object, **__: object) -> list[object]:
        over.wait(PATIENT_S)
        raise OSError("there is none")

    names = Names("shard-0.example:7001", silent)
    with pytest.raises(OSError, match="its name is being looked up"):
        names.place(0.01)
    over.set()
    with pytest.raises(OSError, match="its name was not found: there is none"):
        names.place(PATIENT_S)


def test_a_name_is_looked_up_again_once_its_machine_was_missed() -> None:
    found = ["10.0.0.1", "10.0.0.2"]

    def resolver(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, 0, 0, "", (found.pop(0), 7001))]

    names = Names("shard-0.example:7001", resolver)
    assert names.place(PATIENT_S) == (socket.AF_INET, ("10.0.0.1", 7001))
    assert names.place(PATIENT_S) == (socket.AF_INET, ("10.0.0.1", 7001))
    names.look()
    assert names._looking is not None
    names._looking.join(PATIENT_S)
    assert names.place(PATIENT_S) == (socket.AF_INET, ("10.0.0.2", 7001))


def test_a_shard_that_was_started_again_answers_the_next_question_over_tcp_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    scatter = Scatter([address], PATIENT_S)
    for _ in range(3):
        with served(Door(address, lambda _: ANSWER)):
            assert scatter.ask(SEARCH)[0] is not None
    assert scatter.lines[0].missed == {}
    scatter.close()


def test_a_question_larger_than_what_a_socket_takes_at_once_arrives_whole(tmp_path: Path) -> None:
    with well(tmp_path, "a") as there:
        scatter = Scatter([there], PATIENT_S)
        large = SEARCH._replace(queries=np.ones((1, 4), np.float32), k=2)
        assert scatter.ask(large)[0] is not None
        scatter.close()

    def sizes(search: Search) -> Answer:
        b = len(search.queries)
        return Answer((b,), np.zeros((b, search.k), np.uint64), np.zeros((b, search.k), np.float32))

    with served(Door(f"unix:{tmp_path}/large.sock", sizes)) as door:
        scatter = Scatter([door.address], PATIENT_S)
        [answer] = scatter.ask(SEARCH._replace(queries=np.ones((512, 2048), np.float32)))
        assert answer is not None
        assert answer.numbers == (512,)
        scatter.close()


@contextmanager
def talking(folder: Path, said: bytes) -> Iterator[str]:
    """Give the address of somebody who says this to whoever asks, and then nothing."""
    path, over = f"{folder}/odd.sock", threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as peer:
                peer.recv(1 << 16)
                peer.sendall(said)
                over.wait(PATIENT_S)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"unix:{path}"
        finally:
            over.set()
            thread.join()


BODY = encode_answer(ANSWER)
ODD = {
    "of another question": framed(Kind.ANSWER, 99, BODY),
    "a question": framed(Kind.SEARCH, 1, BODY),
    "of another version": HEADER.pack(b"NCIX", 9, Kind.ANSWER, 0, 1, len(BODY)) + BODY,
    "of the largest length": HEADER.pack(b"NCIX", 1, Kind.ANSWER, 0, 1, 2**32 - 1) + BODY,
    "of fewer items": framed(Kind.ANSWER, 1, encode_answer(Answer((1,), ANSWER.keys[:, :1], ANSWER.similarity[:, :1]))),
    "cut": framed(Kind.ANSWER, 1, BODY)[:-1],
    "empty": framed(Kind.ANSWER, 1, b""),
    "of zeros": bytes(64),
    "of HTTP": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("name", ODD)
def test_an_answer_that_is_none_leaves_that_shard_out_and_no_other(tmp_path: Path, name: str) -> None:
    with talking(tmp_path, ODD[name]) as odd, well(tmp_path, "a") as there:
        scatter = Scatter([odd, there], SHORT_S)
        answers = scatter.ask(SEARCH)
        assert [answer is not None for answer in answers] == [False, True]
        assert sum(scatter.lines[0].missed.values()) == 1
        assert scatter.lines[0].peer is None
        scatter.close()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80))
def test_whatever_bytes_a_shard_says_the_question_ends_in_time(said: bytes) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder, talking(Path(folder), said) as odd:
        scatter = Scatter([odd], 0.02)
        assert scatter.ask(SEARCH) == [None]
        scatter.close()


def test_odd_similarities_are_handed_on_as_they_are(tmp_path: Path) -> None:
    body = struct.pack("<QHHI", 3, 1, 2, 0) + struct.pack("<QQ", 5, 2**64 - 1) + struct.pack("<ff", np.nan, np.inf)
    with talking(tmp_path, framed(Kind.ANSWER, 1, body)) as odd:
        scatter = Scatter([odd], PATIENT_S)
        [answer] = scatter.ask(SEARCH)
        assert answer is not None
        assert answer.keys.tolist() == [[5, 2**64 - 1]]
        scatter.close()
