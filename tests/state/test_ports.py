"""Ports for servers: nobody else is given one before its server listens, nor while it is down."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from state.ports import free_port

ASKS = "from state.ports import free_port\nfor _ in range(300): print(free_port())"


def test_no_port_is_given_twice_by_processes_that_ask_at_the_same_time() -> None:
    asking = [subprocess.Popen([sys.executable, "-c", ASKS], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    given = Counter(line for process in asking for line in process.communicate()[0].splitlines())
    assert [process.returncode for process in asking] == [0, 0, 0]
    assert (given.total(), [port for port, times in given.items() if times > 1]) == (900, [])


def test_a_server_can_listen_on_its_port_at_once_and_again_after_it_died() -> None:
    port = free_port()
    for _ in range(2):
        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            pass


def test_several_gateway_processes_can_share_a_port() -> None:
    port = free_port()
    with (
        socket.create_server(("127.0.0.1", port), reuse_port=True),
        socket.create_server(("127.0.0.1", port), reuse_port=True),
    ):
        pass


def test_no_port_lies_where_the_kernel_takes_those_of_outgoing_connections() -> None:
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not ephemeral.exists():
        pytest.skip("the kernel does not say which ports it gives to outgoing connections")
    low, high = map(int, ephemeral.read_text().split())
    if low < 30_000:
        pytest.skip(f"the kernel gives ports from {low} to outgoing connections: too few are left")
    assert [port for port in (free_port() for _ in range(50)) if low <= port <= high] == []
