"""A shard's door: takes frames from any number of gateways, one thread, one answer after another."""

from __future__ import annotations

import logging
import selectors
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from contracts.errors import StartupError
from retrieval.shard_frames import Answer, Search, decode_search, encode_answer
from retrieval.shard_heads import HEADER, BadFrame, Head, Kind, framed, head_of, place_of
from state.unix_sockets import listen_unix

log = logging.getLogger("nextclick.shard")

MOST_CONNECTIONS = 512
"""Of more, the one that was silent for longest makes way: a gateway that lost its connection makes another."""
_READ = 1 << 18

Respond = Callable[[Search], Answer | str]
"""Returns an answer, or why there is none."""


@dataclass(slots=True, eq=False)
class Peer:
    """One connection. Mutable: bytes come and go."""

    socket: socket.socket
    got: bytearray = field(default_factory=bytearray)
    to_send: bytearray = field(default_factory=bytearray)
    head: Head | None = None


class Door:
    """Listens at an address, and answers with `respond`. For one thread, which calls `turn` again and again."""

    def __init__(self, address: str, respond: Respond) -> None:
        """Raises StartupError when the address is taken, or cannot be had."""
        self._respond, self._place = respond, place_of(address)
        self.bad_frames = self.answered = self.refused = 0
        self.took_s = 0.0
        self._selector = selectors.DefaultSelector()
        try:
            self._listener = _listen(self._place)
        except OSError as error:
            raise StartupError(f"cannot listen at {address}: {error}: set index.shard_addresses to another") from error
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[Peer, None] = {}
        """Who was heard of longest ago comes first."""
        self._more: list[Peer] = []
        """Those of whom another question is here already: each has one answered a turn."""
        self._posted: deque[Callable[[], object]] = deque()
        self._wakes, self._waker = socket.socketpair()
        for end in (self._wakes, self._waker):
            end.setblocking(False)
        self._selector.register(self._wakes, selectors.EVENT_READ)

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system chose."""
        if isinstance(self._place, str):
            return f"unix:{self._place}"
        return f"{self._place[0]}:{self._listener.getsockname()[1]}"

    def post(self, work: Callable[[], object]) -> None:
        """Have something done in the thread that answers, between two answers. From any thread."""
        self._posted.append(work)
        with suppress(OSError):  # full: it wakes anyway
            self._waker.send(b"\0")

    def turn(self, wait_s: float) -> None:
        """Answer what has come, one question of each peer, and do what was posted; wait up to so long for the first."""
        more, self._more = self._more, []
        for key, events in self._selector.select(0.0 if more else wait_s):
            if key.fileobj is self._wakes:
                with suppress(BlockingIOError):
                    self._wakes.recv(4096)
            elif key.fileobj is self._listener:
                self._accept()
            elif key.data in self._peers and key.data not in more:
                self._take_turn(key.data, events)
        for peer in more:
            if peer in self._peers:
                self._take_turn(peer, 0)
        while self._posted:
            self._posted.popleft()()

    def _take_turn(self, peer: Peer, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._read(peer)
            if not peer.to_send:
                self._answer_next(peer)
            self._flush(peer)
        except BadFrame as error:
            self.bad_frames += 1
            log.warning("a frame is refused, and its connection closed: %s", error)
            with suppress(OSError):
                peer.socket.send(framed(Kind.REFUSAL, peer.head.id if peer.head else 0, str(error).encode()))
            self._drop(peer)
        except OSError:
            self._drop(peer)

    def close(self) -> None:
        for peer in list(self._peers):
            self._drop(peer)
        self._selector.unregister(self._listener)
        self._listener.close()
        self._wakes.close()
        self._waker.close()
        self._selector.close()
        if isinstance(self._place, str):
            Path(self._place).unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it left again, or there are no descriptors
            return
        if len(self._peers) >= MOST_CONNECTIONS:
            self._drop(next(iter(self._peers)))
        connection.setblocking(False)
        no_delay(connection)
        peer = Peer(connection)
        self._peers[peer] = None
        self._selector.register(connection, selectors.EVENT_READ, peer)

    def _read(self, peer: Peer) -> None:
        try:
            got = peer.socket.recv(_READ)
        except BlockingIOError:
            return
        if not got:
            raise ConnectionResetError
        peer.got += got
        self._peers[peer] = self._peers.pop(peer)  # it goes to the end

    def _answer_next(self, peer: Peer) -> None:
        """Answer the next question that has come whole, unless whoever asked is gone."""
        body = whole_body(peer)
        if body is None:
            return
        head, peer.head = peer.head, None
        assert head is not None
        if head.kind is not Kind.SEARCH:
            raise BadFrame(f"expected a search, got a frame of kind {head.kind.name.lower()}")
        if not peer.got and _is_gone(peer.socket):
            raise ConnectionResetError
        peer.to_send += self._answer(head, body)

    def _answer(self, head: Head, body: bytes) -> bytes:
        search, began = decode_search(body), perf_counter()
        found = self._respond(search)
        self.took_s += perf_counter() - began
        self.answered += 1
        if isinstance(found, str):
            self.refused += 1
            return framed(Kind.REFUSAL, head.id, found.encode())
        return framed(Kind.ANSWER, head.id, encode_answer(found))

    def _flush(self, peer: Peer) -> None:
        """Send what the peer takes now. One that does not read what it asked for is not read from meanwhile."""
        if peer.to_send:
            with suppress(BlockingIOError):
                del peer.to_send[: peer.socket.send(peer.to_send)]
        if not peer.to_send and len(peer.got) >= (HEADER.size if peer.head is None else peer.head.length):
            self._more.append(peer)
        wanted = selectors.EVENT_WRITE if peer.to_send else selectors.EVENT_READ
        self._selector.modify(peer.socket, wanted, peer)

    def _drop(self, peer: Peer) -> None:
        self._peers.pop(peer, None)
        with suppress(KeyError, ValueError):
            self._selector.unregister(peer.socket)
        peer.socket.close()


def whole_body(peer: Peer) -> bytes | None:
    """Take the body of the next frame out of what was read; None while it has not all come. Raises BadFrame."""
    if peer.head is None and len(peer.got) >= HEADER.size:
        peer.head = head_of(peer.got[: HEADER.size])
        del peer.got[: HEADER.size]
    if peer.head is None or len(peer.got) < peer.head.length:
        return None
    body = bytes(peer.got[: peer.head.length])
    del peer.got[: peer.head.length]
    return body


def _is_gone(connection: socket.socket) -> bool:
    """Tell whether a peer closed its connection: it waited long enough, and a search for it would be in vain."""
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False


def no_delay(connection: socket.socket) -> None:
    """Send small frames at once, where that is a question at all."""
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _listen(place: str | tuple[str, int]) -> socket.socket:
    if isinstance(place, str):
        return listen_unix(place)
    return socket.create_server(place, family=socket.AF_INET6 if ":" in place[0] else socket.AF_INET, backlog=64)
