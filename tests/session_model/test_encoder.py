"""The encoder's step, and that a batch through time says the same as one click after another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts.errors import ArtifactError
from contracts.events import EventCode
from contracts.sessions import CLICK, NO_CLICKS, Clicks
from session_model import artifact
from session_model.encoder import SessionEncoder
from session_model.memory import MEMORY_ARRAYS, Memory

DIM = 6
ITEMS = 12


class Vectors:
    """Items 1 to 12 have a vector, no other does."""

    def __init__(self) -> None:
        vectors = np.random.default_rng(5).normal(size=(ITEMS, DIM)).astype(np.float32)
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def vectors_of(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        known = (keys >= 1) & (keys <= ITEMS)
        row = np.where(known, keys, 1).astype(np.intp) - 1
        return np.where(known[:, None], self.vectors[row], 0).astype(np.float32), known


VECTORS = Vectors()


MEMORY = 5
GATE_SHAPES = {"gate_weight": (DIM, DIM), "gate_bias": (DIM,), "gate_shift": (4, DIM)}


def memory_arrays(rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    shapes = ((3 * MEMORY, DIM), (4, 3 * MEMORY), (3 * MEMORY, MEMORY), (3 * MEMORY,), (DIM, MEMORY))
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in zip(MEMORY_ARRAYS, shapes, strict=True)}


def make_encoder(seed: int = 3) -> SessionEncoder:
    rng = np.random.default_rng(seed)
    return SessionEncoder(
        weight=rng.normal(size=(DIM, DIM)).astype(np.float32),
        bias=rng.normal(size=DIM).astype(np.float32),
        shift=rng.normal(size=(4, DIM)).astype(np.float32),
        version=77,
        memory=Memory.of(memory_arrays(rng)),
    )


def window(*clicks: tuple[int, int]) -> Clicks:
    """Build a window of (item, code)."""
    return np.array([(at * 1000, item, at, code) for at, (item, code) in enumerate(clicks)], CLICK)


def stepped(encoder: SessionEncoder, clicks: Clicks) -> tuple[NDArray[np.float32], bool]:
    state, incomplete = encoder.empty(1), False
    for click in clicks:
        vectors, known = VECTORS.vectors_of(np.array([click["item"]], np.uint64))
        if known[0]:
            state = encoder.step(state, vectors, np.array([click["code"]], np.uint8))
        elif click["code"] in (1, 2, 3):
            incomplete = True
    return state[0], incomplete


windows = st.lists(
    st.lists(st.tuples(st.integers(0, ITEMS + 2), st.integers(0, 5)), max_size=9).map(lambda clicks: window(*clicks)),
    max_size=7,
)


@given(windows)
def test_encoding_a_batch_equals_stepping_each_session_click_by_click(batch: list[Clicks]) -> None:
    encoder = make_encoder()
    states, incomplete = encoder.encode(batch, VECTORS)
    assert states.shape == (len(batch), DIM + MEMORY)
    for row, clicks in enumerate(batch):
        expected, expected_incomplete = stepped(encoder, clicks)
        np.testing.assert_allclose(states[row], expected, atol=1e-6)
        assert incomplete[row] == expected_incomplete


@given(windows)
def test_a_batch_equals_its_sessions_one_by_one(batch: list[Clicks]) -> None:
    encoder = make_encoder()
    states, incomplete = encoder.encode(batch, VECTORS)
    for row, clicks in enumerate(batch):
        alone, alone_incomplete = encoder.encode([clicks], VECTORS)
        np.testing.assert_allclose(states[row], alone[0], atol=1e-6)
        assert incomplete[row] == alone_incomplete[0]


def test_a_step_moves_the_state_by_the_gate_towards_the_item() -> None:
    zeros = np.zeros((2, 2), np.float32)
    shift = np.zeros((4, 2), np.float32)
    shift[EventCode.CART] = np.log(3.0)  # sigmoid(log 3) is 3/4
    encoder = SessionEncoder(weight=zeros, bias=zeros[0], shift=shift, version=1)
    states = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    after = encoder.step(states, vectors, np.array([EventCode.VIEW, EventCode.CART], np.uint8))
    np.testing.assert_allclose(after, [[0.5, 0.0], [0.25, 0.75]], atol=1e-6)


def test_an_event_of_another_type_leaves_the_state_as_it_is() -> None:
    encoder = make_encoder()
    states = np.full((1, DIM + MEMORY), 0.25, np.float32)
    after = encoder.step(states, VECTORS.vectors[:1], np.array([EventCode.OTHER], np.uint8))
    assert after.tolist() == states.tolist()


def test_a_query_has_unit_norm_and_no_clicks_stay_zero() -> None:
    query = make_encoder().query(np.array([[3.0, 4.0] + [0.0] * 9, [0.0] * 11], np.float32))
    np.testing.assert_allclose(query, [[0.6, 0.8, 0, 0, 0, 0], [0.0] * 6], atol=1e-7)


def test_a_click_on_an_unknown_item_is_skipped_and_marks_the_session_incomplete() -> None:
    encoder = make_encoder()
    batch = [window((1, 1), (99, 1), (2, 1)), window((1, 1), (2, 1)), NO_CLICKS]
    states, incomplete = encoder.encode(batch, VECTORS)
    assert incomplete.tolist() == [True, False, False]
    np.testing.assert_allclose(states[0], states[1], atol=1e-7)
    assert states[2].tolist() == [0.0] * (DIM + MEMORY)


def test_a_memory_of_one_number_steps_and_points_as_its_equations_say() -> None:
    zero = np.zeros((4, 3), np.float32)
    zero[EventCode.CART] = 0.0, np.log(3.0), 0.0  # the update of a cart is sigmoid(log 3), 3/4
    memory = Memory(
        input=np.array([[0.0, 0.0, 1.0]], np.float32),
        code=zero,
        weight=np.array([[0.0, 0.0, 2.0]], np.float32),
        bias=np.array([0.0, 0.0, 1.0], np.float32),
        out=np.array([[-4.0]], np.float32),
    )
    none = np.zeros((1, 1), np.float32)
    encoder = SessionEncoder(weight=none, bias=none[0], shift=np.zeros((4, 1), np.float32), version=1, memory=memory)
    after = encoder.step(
        np.array([[0.0, 0.0], [0.0, 0.5]], np.float32),
        np.array([[0.5], [0.5]], np.float32),
        np.array([EventCode.VIEW, EventCode.CART], np.uint8),
    )
    first = np.tanh(0.5 + 0.5 * 1.0)  # reset is 1/2 of 2 * 0 + 1
    second = np.tanh(0.5 + 0.5 * (2 * 0.5 + 1.0))
    np.testing.assert_allclose(after, [[0.25, 0.5 * first], [0.25, second + 0.75 * (0.5 - second)]], atol=1e-6)
    np.testing.assert_allclose(encoder.query(after), [[-1.0], [-1.0]], atol=1e-6)  # 0.25 - 4 * 0.38


def test_the_order_of_clicks_matters() -> None:
    encoder = make_encoder()
    states, _ = encoder.encode([window((1, 1), (2, 1)), window((2, 1), (1, 1))], VECTORS)
    assert float(np.abs(states[0] - states[1]).max()) > 0.05


def test_extreme_gates_do_not_overflow() -> None:
    encoder = SessionEncoder(
        weight=np.zeros((1, 1), np.float32),
        bias=np.array([-500.0], np.float32),
        shift=np.array([[0.0], [0.0], [1000.0], [0.0]], np.float32),
        version=1,
    )
    ones = np.ones((2, 1), np.float32)
    after = encoder.step(np.zeros((2, 1), np.float32), ones, np.array([1, 2], np.uint8))
    assert after.tolist() == [[0.0], [1.0]]


def test_loading_gives_back_what_was_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "gate_weight": rng.normal(size=(DIM, DIM)).astype(np.float32),
        "gate_bias": rng.normal(size=DIM).astype(np.float32),
        "gate_shift": rng.normal(size=(4, DIM)).astype(np.float32),
        **memory_arrays(rng),
    }
    saved = artifact.save(tmp_path / "m", kind="session_model", dim=DIM, arrays=arrays, created_from={})
    loaded = SessionEncoder.load(tmp_path / "m")
    assert loaded.version == int(saved.version, 16)
    assert loaded.dim == DIM
    made = SessionEncoder(
        weight=arrays["gate_weight"],
        bias=arrays["gate_bias"],
        shift=arrays["gate_shift"],
        version=0,
        memory=Memory.of(arrays),
    )
    batch = [window((1, 1), (5, 2))]
    assert loaded.encode(batch, VECTORS)[0].tolist() == made.encode(batch, VECTORS)[0].tolist()


def test_weights_of_different_dimensions_are_refused() -> None:
    with pytest.raises(ArtifactError, match=r"expected gate weight \(2, 2\)"):
        SessionEncoder(
            weight=np.zeros((3, 3), np.float32),
            bias=np.zeros(2, np.float32),
            shift=np.zeros((4, 2), np.float32),
            version=1,
        )


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("memory_out", (7, MEMORY), r"memory_out.npy: expected shape \(6, -1\), got \(7, 5\)"),
        ("memory_weight", (15, 4), r"memory_weight.npy: expected shape \(15, 5\), got \(15, 4\)"),
        ("memory_bias", (12,), r"memory_bias.npy: expected shape \(15,\), got \(12,\)"),
    ],
)
def test_a_memory_of_other_dimensions_is_refused(
    tmp_path: Path, name: str, shape: tuple[int, ...], expected: str
) -> None:
    rng = np.random.default_rng(0)
    arrays = {gate: rng.normal(size=sizes).astype(np.float32) for gate, sizes in GATE_SHAPES.items()}
    arrays |= {**memory_arrays(rng), name: np.zeros(shape, np.float32)}
    artifact.save(tmp_path / "m", kind="session_model", dim=DIM, arrays=arrays, created_from={})
    with pytest.raises(ArtifactError, match=expected):
        SessionEncoder.load(tmp_path / "m")


def test_a_model_trained_without_a_memory_has_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in GATE_SHAPES.items()}
    artifact.save(tmp_path / "m", kind="session_model", dim=DIM, arrays=arrays, created_from={})
    encoder = SessionEncoder.load(tmp_path / "m")
    assert encoder.width == encoder.dim == DIM
    states, _ = encoder.encode([window((1, 1))], VECTORS)
    assert states.shape == (1, DIM)
