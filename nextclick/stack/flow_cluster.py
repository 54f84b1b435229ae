"""Where the processes of one Bytewax cluster listen, and which of them are this machine's. Pure.

Each machine is one address, HOST:PORT; its processes take PORT and those that follow. All machines are given the same
list and the same number of processes, so each knows the place of all others. A larger machine is given twice, with
another port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.errors import StartupError

_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Cluster:
    """Addresses of all processes, in their order, and which are ours."""

    addresses: tuple[str, ...]
    ours: range

    @property
    def arguments(self) -> list[list[str]]:
        """What `bytewax.run` is given for each of our processes; nothing where there is but one in all."""
        if len(self.addresses) == 1:
            return [[]]
        joined = ";".join(self.addresses)
        return [["-i", str(number), "-a", joined] for number in self.ours]


def cluster_of(machines: Sequence[str], index: int | None, workers: int) -> Cluster:
    """Return the cluster of machines with so many processes each, seen from machine `index`; None where nobody said
    which, which is enough for one machine. Raises StartupError.
    """
    if index is None and len(machines) > 1:
        raise StartupError(
            f"--address: {len(machines)} machines: expected --index beside them, which of them this one is, from 0"
        )
    index = index or 0
    if index >= len(machines):
        raise StartupError(
            f"--index {index}: expected 0 to {len(machines) - 1}, as there are {len(machines)} addresses"
        )
    addresses = [one for machine in machines for one in _addresses(machine, workers)]
    if len(set(addresses)) < len(addresses):
        twice = next(one for one in addresses if addresses.count(one) > 1)
        raise StartupError(
            f"--address: two processes would listen on {twice}: each machine has {workers}, on its port and those "
            "that follow"
        )
    return Cluster(tuple(addresses), range(index * workers, (index + 1) * workers))


def _addresses(machine: str, workers: int) -> list[str]:
    host, colon, digits = machine.strip().rpartition(":")
    port = int(digits) if digits.isdecimal() and len(digits) <= 5 else 0
    if not (colon and host and 0 < port <= _LAST_PORT - workers + 1) or any(one in host for one in ";,/@"):
        raise StartupError(
            f"--address {machine!r}: expected HOST:PORT with a port of 1 to {_LAST_PORT - workers + 1}, such as "
            "10.0.0.2:2101"
        )
    if _is_everywhere(host.strip("[]")):
        raise StartupError(
            f"--address {machine}: expected the address at which other machines reach this one. Nobody can be reached "
            f"at {host}, and whoever reaches a port of Bytewax can run code here: name an address of a private network"
        )
    return [f"{host}:{port + number}" for number in range(workers)]


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:  # a name
        return False
