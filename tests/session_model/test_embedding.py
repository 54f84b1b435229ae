"""Session embeddings after a fold: a step where a step is enough, a new encoding where it is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts.sessions import Session
from session_model.embedding import embed
from session_model.encoder import SessionEncoder
from session_model.memory import Memory
from session_model.window import Arrival, WindowRules, fold

DIM = 4
RULES = WindowRules()


class Vectors:
    """Unit vectors made from the key; keys from 1000 on have none."""

    def vectors_of(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        made = [np.random.default_rng(int(key)).normal(size=DIM) for key in keys]
        vectors = np.array(made, np.float32).reshape(-1, DIM)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), keys < 1000


def encoder(version: int = 1) -> SessionEncoder:
    rng = np.random.default_rng(0)
    weight, bias, shift = (rng.normal(size=s).astype(np.float32) for s in ((DIM, DIM), (DIM,), (4, DIM)))
    parts = (rng.normal(size=s).astype(np.float32) for s in ((DIM, 6), (4, 6), (2, 6), (6,), (2, DIM)))
    return SessionEncoder(weight=weight, bias=bias, shift=shift, version=version, memory=Memory(*parts))


def arrivals(items: Sequence[int], first: int = 1) -> list[Arrival]:
    return [Arrival("s", None, (n * 1000, item, n, 1), n, 0) for n, item in enumerate(items, first)]


def after(before: Session | None, items: Sequence[int], model: SessionEncoder | None) -> Session:
    first = 1 if before is None else before.events + 1
    folded = fold(before, arrivals(items, first), RULES)
    [session] = embed(model, Vectors(), [before], [folded])
    return session


@given(st.lists(st.integers(1, 50), min_size=2, max_size=30), st.data())
@settings(deadline=None)
def test_stepping_gives_the_same_embedding_as_encoding_the_whole_window(items: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(items) - 1))
    stepped = after(after(None, items[:cut], encoder()), items[cut:], encoder())
    whole = after(None, items, encoder())
    np.testing.assert_allclose(stepped.embedding, whole.embedding, atol=1e-5)
    assert stepped.model_version == 1


def test_a_click_on_an_item_without_a_vector_is_marked_and_made_good_when_the_vector_is_there() -> None:
    lacking = after(None, [1, 1000, 2], encoder())
    assert lacking.incomplete
    np.testing.assert_allclose(lacking.embedding, after(None, [1, 2], encoder()).embedding, atol=1e-6)
    again = after(lacking, [3], encoder())
    assert again.incomplete
    np.testing.assert_allclose(again.embedding, after(None, [1, 2, 3], encoder()).embedding, atol=1e-6)


def test_a_new_model_encodes_the_session_again_from_its_window() -> None:
    old = after(None, [1, 2], encoder(version=1))
    moved = after(old, [3], encoder(version=2))
    assert moved.model_version == 2
    np.testing.assert_allclose(moved.embedding, after(None, [1, 2, 3], encoder(version=2)).embedding, atol=1e-6)


def test_without_a_model_sessions_have_no_embedding() -> None:
    session = after(None, [1, 2], None)
    assert (len(session.embedding), session.model_version, session.events) == (0, 0, 2)


def test_sessions_move_together_as_each_would_alone() -> None:
    befores = [after(None, [n], encoder()) for n in (1, 2)]
    foldeds = [fold(b, arrivals(more, 2), RULES) for b, more in zip(befores, ([3], [4, 5, 1000]), strict=True)]
    together = embed(encoder(), Vectors(), befores, foldeds)
    assert [session.incomplete for session in together] == [False, True]
    np.testing.assert_allclose(together[0].embedding, after(befores[0], [3], encoder()).embedding, atol=1e-6)
    np.testing.assert_allclose(together[1].embedding, after(befores[1], [4, 5], encoder()).embedding, atol=1e-6)
