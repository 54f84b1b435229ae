"""One question put to every shard at once, and what came back in time."""

from __future__ import annotations

import select
import threading
from collections.abc import Sequence
from time import monotonic

from retrieval.shard_frames import Answer, Search, decode_answer, encode_search
from retrieval.shard_heads import BadFrame, Kind, framed
from retrieval.shard_line import Line
from retrieval.shard_sockets import whole_body

_READ = 1 << 18


class _Asked:
    """One question under way. Mutable: shards come and go."""

    def __init__(self, search: Search, deadline_s: float, answers: list[Answer | None]) -> None:
        self.search, self.began, self.answers = search, monotonic(), answers
        self.until = self.began + deadline_s
        self.waiting: dict[int, Line] = {}
        """By the number of the socket."""
        self.poll = select.poll()
        self._frames: dict[int, bytes] = {}

    def begin(self, line: Line, frame: bytes) -> None:
        """Begin to ask a shard; one that cannot be asked is left out."""
        try:
            number = line.begin(frame, max(0.0, self.until - monotonic()) / 4)
        except OSError as error:
            line.miss("down", _told(error))
            return
        self.waiting[number] = line
        self._frames[number] = frame
        self.poll.register(number, line.wanted)

    def failed(self, number: int, error: Exception) -> None:
        """Leave a shard out, or ask it over a new connection where it left the one that was kept."""
        line = self.waiting[number]
        if isinstance(error, ConnectionError) and line.can_begin_again():
            _, frame = self.over(number)
            line.close()
            self.begin(line, frame)
        else:
            self.miss(number, "down", _told(error))

    def miss(self, number: int, why: str, reason: str) -> None:
        line, _ = self.over(number)
        line.miss(why, reason)

    def over(self, number: int) -> tuple[Line, bytes]:
        self.poll.unregister(number)
        return self.waiting.pop(number), self._frames.pop(number)


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


class Scatter:
    """Asks all shards of an index. One question at a time: threads take turns."""

    def __init__(self, addresses: Sequence[str], deadline_s: float) -> None:
        self.lines = [Line(shard, address) for shard, address in enumerate(addresses)]
        self._deadline_s = deadline_s
        self._id = 0
        self._one_at_a_time = threading.Lock()

    def ask(self, search: Search) -> list[Answer | None]:
        """Return each shard's answer; None of one that is down, late, or refuses."""
        with self._one_at_a_time:
            return self._ask(search)

    def close(self) -> None:
        with self._one_at_a_time:
            for line in self.lines:
                line.close()

    def _ask(self, search: Search) -> list[Answer | None]:
        self._id = (self._id + 1) & 0xFFFFFFFF
        asked = _Asked(search, self._deadline_s, [None] * len(self.lines))
        for line in self.lines:
            if line.rests_until > asked.began:
                continue
            body = encode_search(search._replace(shard=line.shard, of=len(self.lines)))
            asked.begin(line, framed(Kind.SEARCH, self._id, body))
        self._gather(asked)
        return asked.answers

    def _gather(self, asked: _Asked) -> None:
        """Send and hear, whichever shard comes first, until the deadline; what has come by then counts."""
        while asked.waiting:
            left = max(0.0, asked.until - monotonic())
            for number, events in asked.poll.poll(1000 * left):
                self._turn_of(number, events, asked)
            if not left:
                break
        for number in list(asked.waiting):
            asked.miss(number, "late", f"no answer in {1000 * self._deadline_s:.0f} ms")

    def _turn_of(self, number: int, events: int, asked: _Asked) -> None:
        line = asked.waiting[number]
        try:
            line.flush()
            answer = self._read(line, asked.search) if events & ~select.POLLOUT else None
        except Refusal as refusal:
            asked.miss(number, "refused", str(refusal))
        except (OSError, BadFrame) as error:
            asked.failed(number, error)
        else:
            if answer is None:
                asked.poll.modify(number, line.wanted)
                return
            asked.answers[line.shard] = answer
            line.answered(answer.numbers, monotonic() - asked.began)
            asked.over(number)

    def _read(self, line: Line, search: Search) -> Answer | None:
        """Read what has come; return the answer once it is whole. Raises OSError, BadFrame, Refusal."""
        peer = line.peer
        assert peer is not None
        try:
            got = peer.socket.recv(_READ)
        except BlockingIOError:
            return None
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
