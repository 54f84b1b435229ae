"""How many processes listen on a port. Each gateway listens once it can answer, so that is how many are ready."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from aiohttp import web

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = "0A"


def listening(port: int) -> int | None:
    """Return how many sockets listen on a port of this machine; None where the system does not tell.

    A process that listens on both IPv4 and IPv6 counts once.
    """
    ending, counts = f":{port:04X}", []
    for table in _TABLES:
        with suppress(OSError):
            lines = Path(table).read_text().splitlines()[1:]
            sockets = (line.split(maxsplit=4) for line in lines)
            counts.append(sum(one[3] == _LISTENS and one[1].endswith(ending) for one in sockets))
    return max(counts, default=None)


class Together:
    """Whether all processes that share a port have been there at once. Stays true: one that is restarted is missed by
    nobody while the others answer.
    """

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self.count = count
        self.complete = count <= 1

    def missing(self) -> int:
        """Return how many processes do not answer yet; 0 once all did."""
        if not self.complete:
            there = listening(self._port)
            self.complete = there is None or there >= self.count
            return 0 if there is None or self.complete else self.count - there
        return 0


TOGETHER = web.AppKey("together", Together)
