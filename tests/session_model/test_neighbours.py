"""The graph of items that are clicked near each other, and what the item tower takes from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.ids import item_key
from session_model.histories import Histories
from session_model.neighbours import Neighbours

torch = pytest.importorskip("torch", reason="needs the train extra")

from session_model.model import TwoTowers  # noqa: E402
from session_model.training import TrainingSettings, read_content  # noqa: E402

pytestmark = pytest.mark.torch

NAMES = ("a", "b", "c", "d", "e", "f")


def sessions(*lines: str) -> Histories:
    """Sessions of items a to f, one click a letter, oldest first."""
    lengths = [len(line) for line in lines]
    return Histories(
        item_ids=NAMES,
        items=np.array([NAMES.index(letter) for line in lines for letter in line], np.int32),
        codes=np.zeros(sum(lengths), np.uint8),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        ended_ms=np.arange(len(lines), dtype=np.int64),
    )


def test_neighbours_are_what_was_clicked_near_and_nearer_counts_more() -> None:
    found = Neighbours.of(sessions("abc"), 2, half_life_share=100.0)
    assert found.rows[0].tolist() == [1, 2]
    # a-b are next to each other, a-c two apart; b has two such pairs, a and c one and a half each
    near, far = 1 / np.sqrt(1.5 * 2), 0.5 / 1.5
    assert found.weights[0].tolist() == pytest.approx([near / (near + far), far / (near + far)], rel=1e-2)
    assert found.clicks.tolist() == [1, 1, 1, 0, 0, 0]


def test_an_item_that_was_clicked_alone_has_no_neighbours() -> None:
    found = Neighbours.of(sessions("ab", "c", "dd"), 3, half_life_share=0.5)
    assert found.weights.sum(axis=1).tolist() == pytest.approx([1, 1, 0, 0, 0, 0])


def test_what_was_clicked_together_lately_counts_more() -> None:
    found = Neighbours.of(sessions("ab", "fe", "fe", "fe", "ac"), 1, half_life_share=0.2)
    assert NAMES[found.rows[0, 0]] == "c"


@given(st.lists(st.text("abcdef", min_size=1, max_size=6), min_size=1, max_size=12), st.integers(1, 8))
def test_no_item_is_its_own_neighbour_and_weights_sum_to_one(lines: list[str], count: int) -> None:
    found = Neighbours.of(sessions(*lines), count, half_life_share=0.5)
    assert found.rows.shape == found.weights.shape == (6, count)
    used = found.weights > 0
    assert not (used & (found.rows == np.arange(6)[:, None])).any()
    sums = found.weights.sum(axis=1)
    assert np.all(np.isclose(sums, 1.0, atol=1e-5) | (sums == 0.0))
    together = {(x, y) for line in lines for x in line for y in line if x != y}
    for at, name in enumerate(NAMES):
        assert {(name, NAMES[row]) for row in found.rows[at][used[at]]} <= together


def towers(neighbours: Neighbours | None) -> TwoTowers:
    torch.manual_seed(0)
    content = read_content(NAMES, {}, np.ones(6, np.bool_), TrainingSettings())
    return TwoTowers(content, 4, id_dropout=0.0, input_dropout=0.0, neighbours=neighbours, neighbour_dropout=0.5)


def test_an_items_vector_takes_from_its_neighbours() -> None:
    model = towers(Neighbours.of(sessions("ab", "ab", "cd"), 2, half_life_share=0.5)).eval()
    ids = model.id_table.detach()
    with torch.no_grad():
        model.pull.copy_(torch.tensor([0.5, 0.0]))
        found = model.id_vectors(np.array([0, 2, 4]))
    pull = 2 / (1 + np.exp(-0.5))
    expected = torch.stack([ids[0] + pull * ids[1], ids[2] + pull * ids[3], ids[4]])
    assert torch.allclose(found, expected, atol=1e-5)


def test_what_is_exported_already_holds_the_neighbours() -> None:
    model = towers(Neighbours.of(sessions("ab", "bc", "de"), 2, half_life_share=0.5)).train()
    keys = np.array([item_key(name) for name in NAMES], np.uint64)
    exported = model.export(keys, np.ones(6, np.bool_))
    with torch.no_grad():
        vectors = model.eval().id_vectors(np.arange(6)).numpy()
    order = np.argsort(keys)
    assert np.array_equal(exported["id_keys"], keys[order])
    assert np.allclose(exported["id_table"], vectors[order], atol=1e-3)
