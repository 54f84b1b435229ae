"""One question put to every shard at once, and what came back in time."""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import ge
from time import monotonic

from retrieval.shard_frames import Answer, Places, Search, decode_answer, encode_search
from retrieval.shard_heads import BadFrame, Kind, framed, place_of
from retrieval.shard_sockets import Peer, no_delay, whole_body

log = logging.getLogger("nextclick.retrieval")

REST_S = 1.0
"""A shard that was down or late is not asked for so long: requests do not wait for it again and again."""
_READ = 1 << 18


@dataclass(slots=True, eq=False)
class Line:
    """The connection to one shard, and how that one does. Mutable on purpose."""

    shard: int
    address: str
    peer: Peer | None = None
    rests_until: float = 0.0
    numbers: Places = ()
    """The next changes that the shard said it takes; empty before its first answer."""
    behind: int = 0
    """Changes that who asks had taken and the shard had not, at its last answer."""
    answers: int = 0
    waited_s: float = 0.0
    """For all answers together."""
    well: bool = True
    missed: Counter[str] = field(default_factory=Counter)
    """By why: `down`, `late`, `refused`."""

    def send(self, frame: bytes, until: float) -> None:
        """Connect, if need be, and send; a connection that a shard left when it was started again is made anew. Raises
        OSError.
        """
        try:
            self._send(frame, until)
        except ConnectionError:
            if self.peer is None:
                raise
            self.close()
            self._send(frame, until)

    def _send(self, frame: bytes, until: float) -> None:
        left = max(0.001, until - monotonic())
        if self.peer is None:
            place = place_of(self.address)
            if isinstance(place, str):
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.settimeout(left)
                try:
                    connection.connect(place)
                except OSError:
                    connection.close()
                    raise
            else:
                connection = socket.create_connection(place, left)
            no_delay(connection)
            self.peer = Peer(connection)
        self.peer.socket.settimeout(left)
        self.peer.socket.sendall(frame)

    def miss(self, why: str, reason: str) -> None:
        """Leave the shard out for a while, and say so once."""
        self.missed[why] += 1
        self.rests_until = monotonic() + REST_S
        self.close()
        if self.well:
            log.warning("shard %d of the index at %s is left out: %s", self.shard, self.address, reason)
        self.well = False

    @property
    def number(self) -> int:
        """Changes before the next one that the shard takes, of all shards of the table."""
        return sum(self.numbers)

    def has(self, places: Places) -> bool:
        """Tell whether the shard said that it has every change before these."""
        return len(self.numbers) == len(places) and all(map(ge, self.numbers, places))

    def answered(self, numbers: Places, waited_s: float) -> None:
        self.numbers = numbers
        self.answers += 1
        self.waited_s += waited_s
        if not self.well:
            log.warning("shard %d of the index answers again", self.shard)
        self.well = True

    def close(self) -> None:
        if self.peer is not None:
            self.peer.socket.close()
            self.peer = None


class Scatter:
    """Asks all shards of an index. One question at a time: threads take turns."""

    def __init__(self, addresses: Sequence[str], deadline_s: float) -> None:
        self.lines = [Line(shard, address) for shard, address in enumerate(addresses)]
        self._deadline_s = deadline_s
        self._id = 0
        self._turn = threading.Lock()

    def ask(self, search: Search) -> list[Answer | None]:
        """Return each shard's answer; None of one that is down, late, or refuses."""
        with self._turn:
            return self._ask(search)

    def close(self) -> None:
        with self._turn:
            for line in self.lines:
                line.close()

    def _ask(self, search: Search) -> list[Answer | None]:
        now = monotonic()
        until, self._id = now + self._deadline_s, (self._id + 1) & 0xFFFFFFFF
        answers: list[Answer | None] = [None] * len(self.lines)
        waiting: dict[int, Line] = {}
        for line in self.lines:
            if line.rests_until > now:
                continue
            body = encode_search(search._replace(shard=line.shard, of=len(self.lines)))
            try:
                line.send(framed(Kind.SEARCH, self._id, body), until)
                assert line.peer is not None
                waiting[line.peer.socket.fileno()] = line
            except OSError as error:
                line.miss("down", str(error) or type(error).__name__)
        self._gather(waiting, now, search, answers)
        return answers

    def _gather(self, waiting: dict[int, Line], asked: float, search: Search, answers: list[Answer | None]) -> None:
        poll, until = select.poll(), asked + self._deadline_s
        for number in waiting:
            poll.register(number, select.POLLIN)
        while waiting and (left := until - monotonic()) > 0:
            for number, _ in poll.poll(1000 * left):
                line = waiting[number]
                try:
                    answer = self._read(line, search)
                except Refusal as refusal:
                    line.miss("refused", str(refusal))
                except (OSError, BadFrame) as error:
                    line.miss("down", str(error) or type(error).__name__)
                else:
                    if answer is None:
                        continue
                    answers[line.shard] = answer
                    line.answered(answer.numbers, monotonic() - asked)
                poll.unregister(number)
                del waiting[number]
        for line in waiting.values():
            line.miss("late", f"no answer in {1000 * self._deadline_s:.0f} ms")

    def _read(self, line: Line, search: Search) -> Answer | None:
        """Read what has come; return the answer once it is whole. Raises OSError, BadFrame, Refusal."""
        peer = line.peer
        assert peer is not None
        got = peer.socket.recv(_READ)
        if not got:
            raise ConnectionResetError("it closed the connection")
        peer.got += got
        body = whole_body(peer)
        if body is None:
            return None
        head, peer.head = peer.head, None
        assert head is not None
        if head.kind is Kind.REFUSAL:
            raise Refusal(body.decode(errors="replace"))
        if head.kind is not Kind.ANSWER or head.id != self._id:
            raise BadFrame(f"expected the answer to question {self._id}, got {head.kind.name.lower()} {head.id}")
        return decode_answer(body, len(search.queries), search.k)


class Refusal(Exception):
    """A shard's reason for no answer."""
