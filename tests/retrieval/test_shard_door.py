"""A shard's door: whoever fills it, is silent or asks too much keeps nobody else from an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.scatter import Scatter
from retrieval.shard_frames import Answer, Search, encode_search
from retrieval.shard_heads import HEADER, Kind, framed, head_of
from retrieval.shard_sockets import MOST_CONNECTIONS, Door
from tests.retrieval.sharded import served

PATIENT_S = 30.0


def asked(value: float, k: int = 2, b: int = 1) -> Search:
    return Search(7, 0, 1, k, np.full((b, 4), value, np.float32))


def answer_to(search: Search) -> Answer:
    shape = len(search.queries), search.k
    return Answer((1,), np.zeros(shape, np.uint64), np.zeros(shape, np.float32))


@contextmanager
def connected(path: str) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as peer:
        peer.settimeout(PATIENT_S)
        peer.connect(path)
        yield peer


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/door.sock"


def answers(path: str) -> bool:
    scatter = Scatter([f"unix:{path}"], PATIENT_S)
    found = scatter.ask(asked(1.0))
    scatter.close()
    return found[0] is not None


def taken(peer: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count and (some := peer.recv(count - len(found))):
        found += some
    return found


def body_of_answer(peer: socket.socket) -> bytes:
    """Return what the next answer holds; it is one."""
    head = head_of(taken(peer, HEADER.size))
    assert head.kind is Kind.ANSWER
    return taken(peer, head.length)


@pytest.mark.parametrize("begun", [b"", b"NCIX\x01\x01", framed(Kind.SEARCH, 1, encode_search(asked(1.0)))[:-1]])
def test_whoever_fills_the_door_and_is_silent_makes_way_for_who_asks(path: str, begun: bytes) -> None:
    with served(Door(f"unix:{path}", answer_to)), ExitStack() as stack:
        early = stack.enter_context(connected(path))
        for _ in range(MOST_CONNECTIONS):
            early.sendall(framed(Kind.SEARCH, 1, encode_search(asked(1.0))))
            assert body_of_answer(early)  # so it is not the one that was silent for longest
            stack.enter_context(connected(path)).sendall(begun)
        assert answers(path)
        assert answers(path)
        early.sendall(framed(Kind.SEARCH, 1, encode_search(asked(1.0))))
        assert body_of_answer(early)


def test_a_peer_that_asks_much_at_once_is_answered_in_turn_with_others(path: str) -> None:
    order: list[float] = []
    begun, go_on = threading.Event(), threading.Event()

    def respond(search: Search) -> Answer:
        order.append(float(search.queries[0, 0]))
        begun.set()
        go_on.wait(PATIENT_S)
        return answer_to(search)

    with served(Door(f"unix:{path}", respond)), connected(path) as greedy, connected(path) as other:
        greedy.sendall(b"".join(framed(Kind.SEARCH, n, encode_search(asked(1.0))) for n in range(100)))
        assert begun.wait(PATIENT_S)
        other.sendall(framed(Kind.SEARCH, 1, encode_search(asked(2.0))))
        go_on.set()
        assert body_of_answer(other)
        assert order.index(2.0) <= 2
        for _ in range(100):
            assert body_of_answer(greedy)


def test_whoever_left_before_their_turn_is_not_searched_for(path: str) -> None:
    searched: list[float] = []
    begun, go_on = threading.Event(), threading.Event()

    def respond(search: Search) -> Answer:
        searched.append(float(search.queries[0, 0]))
        begun.set()
        go_on.wait(PATIENT_S)
        return answer_to(search)

    with served(Door(f"unix:{path}", respond)):
        with connected(path) as first:
            first.sendall(framed(Kind.SEARCH, 1, encode_search(asked(1.0))))
            assert begun.wait(PATIENT_S)
            with connected(path) as impatient:
                impatient.sendall(framed(Kind.SEARCH, 1, encode_search(asked(2.0))))
            go_on.set()
            assert body_of_answer(first)
        assert answers(path)
    assert searched == [1.0, 1.0]


def test_answers_that_nobody_reads_hold_up_nobody_and_come_all_at_last(path: str) -> None:
    with served(Door(f"unix:{path}", answer_to)), connected(path) as lazy:
        question, count = framed(Kind.SEARCH, 1, encode_search(asked(1.0, k=4096, b=8))), 20
        sender = threading.Thread(target=lambda: lazy.sendall(question * count))
        sender.start()
        assert answers(path)
        for _ in range(count):
            assert len(body_of_answer(lazy)) == 16 + 12 * 8 * 4096
        sender.join()


QUESTION = framed(Kind.SEARCH, 1, encode_search(asked(1.0)))


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.tuples(st.integers(0, len(QUESTION) - 1), st.integers(0, 255)).map(
            lambda change: QUESTION[: change[0]] + bytes([change[1]]) + QUESTION[change[0] + 1 :]
        ),
    ),
    st.integers(1, 5),
)
def test_whatever_bytes_come_in_whatever_pieces_the_door_answers_the_next(sent: bytes, pieces: int) -> None:
    with TemporaryDirectory() as folder:
        path = f"{folder}/door.sock"
        with served(Door(f"unix:{path}", answer_to)), connected(path) as odd:
            size = -(-len(sent) // pieces) or 1
            for at in range(0, len(sent), size):
                try:
                    odd.sendall(sent[at : at + size])
                except OSError:
                    break  # refused already
            assert answers(path)
