"""Whether this machine can listen where a flow's cluster says that it does."""

from __future__ import annotations

import errno
import ipaddress
import socket
import time

from contracts.errors import StartupError
from nextclick.stack.flow_cluster import Cluster

ENDING_S = 5.0
"""A process that had the port may be about to end."""
_PAUSE_S = 0.1


def expect_ports(cluster: Cluster, *, within_s: float = ENDING_S) -> None:
    """Raise StartupError where a process of ours could not listen: another address than this machine's, or a port that
    somebody has. Names are not looked at: what they mean may not be known yet.
    """
    if len(cluster.addresses) == 1:
        return
    for address in (cluster.addresses[number] for number in cluster.ours):
        host, _, port = address.rpartition(":")
        if _is_number(host.strip("[]")):
            _expect_port(address, host.strip("[]"), int(port), time.monotonic() + within_s)


def _expect_port(address: str, host: str, port: int, until: float) -> None:
    while error := _refusal(host, port):
        if error.errno == errno.EADDRNOTAVAIL:
            raise StartupError(
                f"--address {address}: expected an address of this machine, found none: --index says which --address "
                "is this machine's, from 0"
            ) from error
        if error.errno != errno.EADDRINUSE:
            raise StartupError(f"--address {address}: cannot listen there: {error.strerror}") from error
        if time.monotonic() > until:
            raise StartupError(
                f"--address {address}: expected a free port, somebody listens there: is this flow running already? End "
                "it, or give this machine another port, everywhere"
            ) from error
        time.sleep(_PAUSE_S)


def _refusal(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Bytewax's
        try:
            listener.bind((host, port))
            listener.listen(1)
        except OSError as error:
            return error
    return None


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
