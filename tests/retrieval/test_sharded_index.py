"""An index whose shards search: the same as one that searches everything itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import SettingsError
from contracts.ids import item_key
from contracts.settings import IndexSettings
from retrieval.ann_index import AnnIndex, Filter
from retrieval.catalogue import CatalogueColumns
from retrieval.intake import Intake, RawRows
from retrieval.scatter import Scatter
from retrieval.shard_frames import Answer, Places, Search
from retrieval.shard_heads import HEADER, Kind, framed, head_of
from retrieval.shard_sockets import Door
from retrieval.sharded_index import MOST_WAITING, ShardedIndex
from retrieval.share import Share, addresses_of
from tests.retrieval.sharded import respond_from, served
from tests.retrieval.tables import DIM, row, tower

TOWER = tower()
PATIENT_S = 30.0


def rows_of(items: Sequence[int], **fields: object) -> RawRows:
    return [(item_key(f"i{n}"), row(f"i{n}", TOWER, category=f"c{n % 3}", **fields)) for n in items]  # type: ignore[arg-type]


@dataclass
class Shards:
    """Shards of some items, and the index of a gateway that asks them."""

    numbers: Places = (1,)
    """The next changes that the gateway takes."""
    taken: Places = (1,)
    """The next changes that the shards take."""
    whole: CatalogueColumns = field(default_factory=lambda: CatalogueColumns(model_version=TOWER.version, dim=DIM))

    def __post_init__(self) -> None:
        self.sharded, self.exact = ShardedIndex(self.whole), AnnIndex(self.whole)

    def take(self, rows: RawRows) -> None:
        """Have the gateway take rows, and no shard."""
        intake = Intake(self.whole, self.sharded)
        intake.take(rows)
        self.exact = AnnIndex(self.whole)


@contextmanager
def shards(count: int, rows: RawRows, deadline_s: float = PATIENT_S, numbers: Places = (1,)) -> Iterator[Shards]:
    made = Shards(numbers, numbers)
    made.take(rows)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        addresses = []
        for shard in range(count):
            columns = CatalogueColumns(model_version=TOWER.version, dim=DIM)
            index, share = AnnIndex(columns), Share(shard, count)
            Intake(columns, index).take([one for one in rows if share.holds(one[0])])
            door = Door(f"unix:{folder}/{shard}.sock", respond_from(columns, index, made))
            addresses.append(stack.enter_context(served(door)).address)
        made.sharded.scatter = Scatter(addresses, deadline_s)
        made.sharded.numbers = lambda: made.numbers
        stack.callback(made.sharded.scatter.close)
        if rows:
            made.sharded.search(made.whole.vectors[:1], 1)
            assert made.sharded.size.delta == 0  # from here on nothing but the shards has these items
        yield made


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 3),
    held=st.sets(st.integers(0, 300), max_size=60),
    later=st.sets(st.integers(0, 400), max_size=10),
    gone=st.sets(st.integers(0, 300), max_size=10),
    k=st.integers(1, 80),
    category=st.sampled_from([None, "c0", "c1", "nothing"]),
)
def test_what_is_gathered_is_what_one_exact_index_of_everything_finds(
    count: int, held: set[int], later: set[int], gone: set[int], k: int, category: str | None
) -> None:
    with shards(count, rows_of(sorted(held))) as made:
        made.numbers = (2,)  # what follows is not taken by the shards
        made.take(rows_of(sorted(later), stock=9))
        made.take([(item_key(f"i{n}"), None) for n in sorted(gone)])
        queries = np.random.default_rng(k).standard_normal((20, DIM))
        queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
        wanted = [Filter(category) if category else None] * len(queries)
        rows, similarity = made.sharded.search(queries, k, wanted)
        exact, best = made.exact.search(queries, k, wanted)
        assert np.allclose(similarity, best, atol=1e-5)
        assert (rows >= 0).tolist() == (exact >= 0).tolist()
        assert [sorted(set(row)) for row in rows.tolist()] == [sorted(set(row)) for row in exact.tolist()]
        assert made.sharded.take_missing() == ()


def test_a_changed_item_is_found_at_once_and_no_longer_kept_once_the_shards_have_it() -> None:
    with shards(2, rows_of(range(20))) as made:
        made.numbers = (5,)
        made.take(rows_of([77]))
        query = made.whole.vectors[made.whole.rows_of(np.array([item_key("i77")], np.uint64))]
        assert made.whole.item_ids[int(made.sharded.search(query, 1)[0][0, 0])] == "i77"
        assert made.sharded.size.delta == 1
        made.taken = (5,)
        made.sharded.search(query, 1)
        assert made.sharded.size.delta == 0


def test_a_changed_item_is_found_until_the_shards_have_its_own_part_of_the_table_whatever_they_have_of_others() -> None:
    with shards(2, rows_of(range(20)), numbers=(1, 1)) as made:
        made.numbers = (1, 2)
        made.take(rows_of([77]))
        query = made.whole.vectors[made.whole.rows_of(np.array([item_key("i77")], np.uint64))]
        for taken, waits in (((9, 1), 1), ((1, 9), 0)):
            made.taken = taken  # ten changes both times
            found = made.sharded.search(query, 1)[0]
            assert made.sharded.size.delta == waits
            assert (made.whole.item_ids[int(found[0, 0])] == "i77") is bool(waits)
        assert made.sharded.scatter is not None
        assert [line.behind for line in made.sharded.scatter.lines] == [0, 0]
        made.taken = (3,)  # of a table that had one part: it says nothing of ours
        made.take(rows_of([78]))
        made.sharded.search(query, 1)
        assert made.sharded.size.delta == 1


def test_of_what_the_shards_do_not_have_the_newest_are_kept() -> None:
    made = Shards()
    made.take(rows_of(range(20)))
    for _ in range(600):
        made.sharded.apply(np.arange(20, dtype=np.int32))
    assert made.sharded.size.delta == MOST_WAITING


def test_a_shard_that_is_down_is_left_out_and_told_and_back_once_it_listens(tmp_path: Path) -> None:
    rows = rows_of(range(40))
    with shards(2, rows) as made:
        assert made.sharded.scatter is not None
        made.sharded.scatter.lines[1].close()
        there = made.sharded.scatter.lines[1].address
        made.sharded.scatter.lines[1].address = f"unix:{tmp_path}/nobody.sock"
        found, _ = made.sharded.search(made.whole.vectors[:1], 40)
        assert made.sharded.take_missing() == ("index_shards",)
        assert made.sharded.take_missing() == ()
        keys = made.whole.keys[found[0][found[0] >= 0]]
        assert set((keys % 2).tolist()) == {0}
        assert made.sharded.scatter.lines[1].missed == {"down": 1}
        made.sharded.scatter.lines[1].address = there
        made.sharded.search(made.whole.vectors[:1], 40)
        assert made.sharded.take_missing() == ("index_shards",)  # it rests
        made.sharded.scatter.lines[1].rests_until = 0.0
        found, _ = made.sharded.search(made.whole.vectors[:1], 40)
        assert made.sharded.take_missing() == ()
        assert (found >= 0).sum() == 40


def test_a_shard_that_is_late_is_left_out_and_its_answer_is_never_taken_for_another(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/late.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address.removeprefix("unix:"))
        listener.listen()  # and never answers
        scatter = Scatter([address], 0.05)
        search = Search(TOWER.version, 0, 1, 3, np.ones((1, DIM), np.float32))
        assert scatter.ask(search) == [None]
        assert scatter.lines[0].missed == {"late": 1}
        assert scatter.lines[0].peer is None
        assert scatter.ask(search) == [None]
        assert scatter.lines[0].missed == {"late": 1}  # it rests: nobody waits for it again


def test_bytes_that_are_no_frame_are_answered_by_why_and_the_others_go_on() -> None:
    with shards(1, rows_of(range(5))) as made:
        assert made.sharded.scatter is not None
        path = made.sharded.scatter.lines[0].address.removeprefix("unix:")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as odd:
            odd.settimeout(PATIENT_S)
            odd.connect(path)
            odd.sendall(b"GET / HTTP/1.1\r\n\r\n")
            said = odd.makefile("rb").read()
        assert head_of(said[: HEADER.size]).kind is Kind.REFUSAL
        assert said[HEADER.size :].startswith(b"expected a frame NCIX of version 1, got b'GET ' of version ")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as odd:
            odd.settimeout(PATIENT_S)
            odd.connect(path)
            odd.sendall(framed(Kind.SEARCH, 9, b"short"))
            assert b"expected a search of at least 24 bytes, got 5" in odd.makefile("rb").read()
        assert (made.sharded.search(made.whole.vectors[:1], 5)[0] >= 0).all()


def test_an_answer_that_is_refused_or_of_other_sizes_leaves_the_shard_out(tmp_path: Path) -> None:
    replies: list[Answer | str] = ["it is still loading its items", Answer((1,), *_nothing(1, 7))]
    with served(Door(f"unix:{tmp_path}/odd.sock", lambda _: replies.pop(0))) as door:
        scatter = Scatter([door.address], PATIENT_S)
        search = Search(TOWER.version, 0, 1, 3, np.ones((1, DIM), np.float32))
        assert scatter.ask(search) == [None]
        assert scatter.lines[0].missed == {"refused": 1}
        scatter.lines[0].rests_until = 0.0
        assert scatter.ask(search) == [None]
        assert scatter.lines[0].missed == {"refused": 1, "down": 1}
        scatter.close()


def test_shards_are_asked_over_tcp_by_the_same_frames() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    keys, similarity = np.array([[5]], np.uint64), np.array([[0.5]], np.float32)
    with served(Door(f"127.0.0.1:{port}", lambda _: Answer((3,), keys, similarity))) as door:
        scatter = Scatter([door.address], PATIENT_S)
        [answer] = scatter.ask(Search(TOWER.version, 0, 1, 1, np.ones((1, DIM), np.float32)))
        assert answer is not None
        assert (answer.numbers, answer.keys.tolist(), answer.similarity.tolist()) == ((3,), [[5]], [[0.5]])
        scatter.close()


def test_addresses_are_one_a_shard_and_readable(tmp_path: Path) -> None:
    index = IndexSettings(shards=2, folder=str(tmp_path / "index"))
    assert addresses_of(index) == [f"unix:{tmp_path}/index-shard-{n}-of-2.sock" for n in (0, 1)]
    given = index.model_copy(update={"shard_addresses": "10.0.0.1:7001, unix:/run/b.sock"})
    assert addresses_of(given) == ["10.0.0.1:7001", "unix:/run/b.sock"]
    for odd in ("10.0.0.1:7001", "a,b", f"unix:/{'x' * 200},unix:/b", "a:0,b:1"):
        with pytest.raises(SettingsError, match="expected "):
            addresses_of(index.model_copy(update={"shard_addresses": odd}))


def _nothing(b: int, k: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    return np.zeros((b, k), np.uint64), np.full((b, k), -np.inf, np.float32)
