"""What is said where a machine of a flow cannot listen at the address that it was given."""

from __future__ import annotations

import re
import socket

import pytest

from contracts.errors import StartupError
from nextclick.stack.flow_cluster import cluster_of
from nextclick.stack.flow_ports import expect_ports
from state.ports import free_port


def test_a_port_that_somebody_has_is_named() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        said = f"--address 127.0.0.1:{port}: expected a free port, somebody listens there"
        with pytest.raises(StartupError, match=re.escape(said)):
            expect_ports(cluster_of([f"127.0.0.1:{port}", "127.0.0.2:2101"], 0, 1), within_s=0)


def test_the_address_of_another_machine_is_named() -> None:
    with pytest.raises(StartupError, match=r"--address 192\.0\.2\.1:2101: expected an address of this machine"):
        expect_ports(cluster_of(["192.0.2.1:2101", "127.0.0.2:2101"], 0, 1))


def test_addresses_of_others_names_and_a_single_process_are_not_looked_at() -> None:
    port = free_port()
    expect_ports(cluster_of(["192.0.2.1:2101", f"127.0.0.1:{port}"], 1, 1))
    expect_ports(cluster_of(["flow-0.flows:2101", "flow-1.flows:2101"], 0, 1))
    expect_ports(cluster_of(["192.0.2.1:2101"], 0, 1))
