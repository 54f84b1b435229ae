"""TCP ports of the loopback address for servers that are about to start."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _HIGHEST, _ENOUGH = 20_000, 65_535, 1_000  # below are well-known servers, and ports that browsers refuse
_CHOOSE = random.SystemRandom()  # two processes with one seed would choose the same ports


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody has, and that nobody is given within a minute.

    The kernel takes the ports of outgoing connections from elsewhere, so a server that died finds its port free, and
    a client that dials it meanwhile cannot reach itself. Another caller, in any process, gets another port.
    Raises OSError when there is none.
    """
    for port in _CHOOSE.sample(_server_ports(), k=_ENOUGH):
        with suppress(OSError):
            _reserve(port)
            return port
    raise OSError(f"expected a free TCP port on 127.0.0.1, found {_ENOUGH} of {_ENOUGH} taken")


def _reserve(port: int) -> None:
    """Leave a closed connection on the port. Raises OSError when somebody has it.

    TIME_WAIT keeps it for a minute from whoever binds without SO_REUSEADDR, as this function does; servers set it.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # inherited by what it accepts
        listener.listen(1)
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = listener.accept()
            accepted.close()  # the side that closes first keeps TIME_WAIT


def _server_ports() -> list[int]:
    """Return the ports that the kernel gives to no outgoing connection; all, where it keeps almost none back."""
    try:
        low, high = map(int, _EPHEMERAL.read_text().split())
    except OSError:
        low, high = 49_152, 65_535  # IANA's dynamic ports
    every = range(_LOWEST, _HIGHEST + 1)
    outside = [port for port in every if not low <= port <= high]
    return outside if len(outside) >= _ENOUGH else list(every)
