"""Which processes of a cluster are a machine's, and which addresses are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts.errors import StartupError
from nextclick.stack.flow_cluster import cluster_of
from nextclick.stack.flow_workers import expect_recoverable, recovery_of


def test_processes_of_a_machine_take_its_port_and_those_that_follow() -> None:
    cluster = cluster_of(["10.0.0.2:2101", "10.0.0.3:3000"], 1, 2)
    assert cluster.addresses == ("10.0.0.2:2101", "10.0.0.2:2102", "10.0.0.3:3000", "10.0.0.3:3001")
    joined = "10.0.0.2:2101;10.0.0.2:2102;10.0.0.3:3000;10.0.0.3:3001"
    assert cluster.arguments == [["-i", "2", "-a", joined], ["-i", "3", "-a", joined]]


def test_a_larger_machine_is_given_twice() -> None:
    assert cluster_of(["big:2101", "small:2101", "big:2201"], 2, 1).arguments == [
        ["-i", "2", "-a", "big:2101;small:2101;big:2201"]
    ]


def test_one_process_in_all_opens_no_port() -> None:
    assert cluster_of(["10.0.0.2:2101"], None, 1).arguments == [[]]


@pytest.mark.parametrize(
    ("machines", "index", "workers", "said"),
    [
        (["a:1", "b:1"], 2, 1, "--index 2: expected 0 to 1, as there are 2 addresses"),
        (["a"], 0, 1, "--address 'a': expected HOST:PORT with a port of 1 to 65535"),
        (["a:"], 0, 1, "expected HOST:PORT"),
        ([":2101"], 0, 1, "expected HOST:PORT"),
        (["a:0"], 0, 1, "expected HOST:PORT"),
        (["http://10.0.0.2:2101"], 0, 1, "expected HOST:PORT"),
        (["me@10.0.0.2:2101"], 0, 1, "expected HOST:PORT"),
        (["a:1", "b:1"], None, 1, "2 machines: expected --index beside them"),
        (["a:65535"], 0, 2, "a port of 1 to 65534"),
        (["a:1;b:2"], 0, 1, "expected HOST:PORT"),
        (["a:2101", "a:2102"], 0, 2, "two processes would listen on a:2102"),
        (["0.0.0.0:2101"], 0, 1, "Nobody can be reached at 0.0.0.0"),
        (["[::]:2101"], 0, 1, "Nobody can be reached at [::]"),
    ],
)
def test_what_cannot_be_a_cluster_is_refused(machines: list[str], index: int | None, workers: int, said: str) -> None:
    with pytest.raises(StartupError, match=re.escape(said)):
        cluster_of(machines, index, workers)


def test_the_first_machine_keeps_the_store_and_the_others_nothing(tmp_path: Path) -> None:
    first, other = tmp_path / "first", tmp_path / "other"
    recovery_of(first)
    recovery_of(other, is_first=False)
    assert len(list(first.glob("part-*.sqlite3"))) > 0
    assert list(other.iterdir()) == []
    with pytest.raises(StartupError, match=r"keeps it whole, found one"):
        recovery_of(first, is_first=False)
    with pytest.raises(StartupError, match=r"--recovery is for the trends flow: the items flow keeps all in Redis"):
        expect_recoverable("items", first)
