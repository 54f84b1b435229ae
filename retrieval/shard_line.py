"""The connection to one shard of the index, as a gateway has it. Nothing here waits: who asks several shards at once
does, for all of them.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from operator import ge
from time import monotonic
from typing import Any

from retrieval.shard_frames import Places
from retrieval.shard_heads import place_of
from retrieval.shard_sockets import Peer, no_delay

log = logging.getLogger("nextclick.retrieval")

REST_S = 1.0
"""A shard that was down or late is not asked for so long: requests do not wait for it again and again."""
_UNDER_WAY = (0, errno.EINPROGRESS)

Place = tuple[int, str | tuple[str, int]]
"""Family of a socket, and where it leads."""

LookUp = Callable[..., list[Any]]
"""As socket.getaddrinfo."""


class Names:
    """Where the host of a shard is. A name is looked up in a thread of its own: a resolver that is silent would keep
    every question to every shard waiting.
    """

    def __init__(self, address: str, look_up: LookUp = socket.getaddrinfo) -> None:
        place = place_of(address)
        self._look_up, self._host, self._port = look_up, place[0], place[1]
        self._found: Place | None = _place(place)
        self._is_name = self._found is None
        self._error = "its name is being looked up"
        self._looking: threading.Thread | None = None

    def place(self, wait_s: float) -> Place:
        """Return what was found last; wait only for the first. Raises OSError where nothing was."""
        if self._found is None:
            self.look()
            if self._looking is not None:
                self._looking.join(wait_s)
        if self._found is None:
            raise OSError(self._error)
        return self._found

    def look(self) -> None:
        """Look a name up anew: another machine may have it by now."""
        if self._is_name and (self._looking is None or not self._looking.is_alive()):
            self._looking = threading.Thread(target=self._look, name="look up a shard", daemon=True)
            self._looking.start()

    def _look(self) -> None:
        try:
            family, _, _, _, where = self._look_up(self._host, self._port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError) as error:
            self._error = f"its name was not found: {error}"
        else:
            self._found = family, (str(where[0]), int(where[1]))


def _place(place: str | tuple[str, int]) -> Place | None:
    """Return where a shard is that is named by a path or a number; None of a name."""
    if isinstance(place, str):
        return socket.AF_UNIX, place
    try:
        version = ipaddress.ip_address(place[0].partition("%")[0]).version
    except ValueError:
        return None
    return (socket.AF_INET6 if version == 6 else socket.AF_INET), place


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
    _is_new: bool = False
    _names: Names | None = None
    _named: str = ""

    def begin(self, frame: bytes, wait_s: float) -> int:
        """Begin to send a frame, over a connection that is begun where there is none; returns the socket's number.
        Waits `wait_s` at most, for a name that was never found. Raises OSError.
        """
        if self.peer is None:
            self._connect(wait_s)
        else:
            self._is_new = False
        assert self.peer is not None
        self.peer.to_send = bytearray(frame)
        return self.peer.socket.fileno()

    def can_begin_again(self) -> bool:
        """Tell whether a connection that failed is one that a shard may have left when it was started again."""
        return not self._is_new and self.peer is not None and not self.peer.got and self.peer.head is None

    @property
    def wanted(self) -> int:
        """What to poll for."""
        return select.POLLIN | (select.POLLOUT if self.peer is not None and self.peer.to_send else 0)

    def flush(self) -> None:
        """Send what the shard takes now. Raises OSError, also where no connection came about."""
        peer = self.peer
        assert peer is not None
        if not peer.to_send:
            return
        if failed := peer.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(failed, os.strerror(failed))
        with suppress(BlockingIOError):
            del peer.to_send[: peer.socket.send(peer.to_send)]

    def _connect(self, wait_s: float) -> None:
        if self._names is None or self._named != self.address:
            self._names, self._named = Names(self.address), self.address
        family, where = self._names.place(wait_s)
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        no_delay(connection)
        if (failed := connection.connect_ex(where)) not in _UNDER_WAY:
            connection.close()
            raise OSError(failed, os.strerror(failed))
        self.peer, self._is_new = Peer(connection), True

    def miss(self, why: str, reason: str) -> None:
        """Leave the shard out for a while, and say so once."""
        self.missed[why] += 1
        self.rests_until = monotonic() + REST_S
        self.close()
        if self._names is not None:
            self._names.look()
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
