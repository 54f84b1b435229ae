"""Session embeddings after a fold: the one place that decides between going on and encoding again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from contracts.sessions import Clicks, Session
from session_model.fold_arrays import FoldedArrays
from session_model.window import Folded
from state.session_arrays import CLICKS, Bytes, Keys, Numbers, SessionArrays

_NO_EMBEDDING = np.empty(0, np.float32)


class ItemVectors(Protocol):
    """Where item vectors come from."""

    def vectors_of(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return unit vectors (n, d) of ItemKeys (n,), and which of them are known (n,)."""


class Encoder(Protocol):
    """What the encoder offers; see `session_model.encoder.SessionEncoder`."""

    @property
    def version(self) -> int: ...

    @property
    def width(self) -> int: ...

    def encode(
        self, windows: Sequence[Clicks], item_vectors: ItemVectors
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]: ...

    def encode_clicks(
        self,
        items: NDArray[np.uint64],
        codes: NDArray[np.uint8],
        lengths: NDArray[np.int64],
        item_vectors: ItemVectors,
        states: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]: ...


def embed(
    encoder: Encoder | None,
    item_vectors: ItemVectors,
    befores: Sequence[Session | None],
    foldeds: Sequence[Folded],
) -> list[Session]:
    """Give every folded session the embedding of its window; returns those whose window changed.

    A session that only grew at its end goes on from its state. One that was inserted into, began afresh,
    misses an item's vector, or was encoded by another model, is encoded again from its window. All sessions move
    together: one array operation a click position, not one a session.
    """
    stepping: list[tuple[Session, int]] = []
    again: list[Session] = []
    for before, folded in zip(befores, foldeds, strict=True):
        session = folded.session
        if session is None or folded.appended == 0:
            continue
        current = encoder is not None and before is not None and _is_of(encoder, before)
        if folded.appended is not None and current and not session.incomplete:
            stepping.append((session, folded.appended))
        else:
            again.append(session)
    if encoder is None:
        return [replace(s, embedding=_NO_EMBEDDING, model_version=0, incomplete=False) for s in again]
    return _step(encoder, item_vectors, stepping) + _encode(encoder, item_vectors, again)


def _is_of(encoder: Encoder, session: Session) -> bool:
    return session.model_version == encoder.version and len(session.embedding) == encoder.width


def _step(encoder: Encoder, item_vectors: ItemVectors, grown: Sequence[tuple[Session, int]]) -> list[Session]:
    if not grown:
        return []
    new_clicks = [session.window[-appended:] for session, appended in grown]
    lengths = np.array([len(clicks) for clicks in new_clicks])
    flat = np.concatenate(new_clicks)
    states = np.stack([session.embedding for session, _ in grown])  # (n, width)
    states, missing = encoder.encode_clicks(flat["item"], flat["code"], lengths, item_vectors, states)
    return [
        replace(session, embedding=state, incomplete=bool(lacks))
        for (session, _), state, lacks in zip(grown, states, missing, strict=True)
    ]


def embed_arrays(
    encoder: Encoder | None, item_vectors: ItemVectors, sessions: SessionArrays, folded: FoldedArrays
) -> Numbers:
    """Give the states of sessions whose window changed, in place; returns which these are, (m,). As `embed` decides."""
    changed = np.flatnonzero(folded.applied)
    if encoder is None:
        sessions.models[changed], sessions.incomplete[changed] = 0, False
        return changed
    steps = folded.grew[changed] & sessions.current[changed] & ~sessions.incomplete[changed]
    lengths = np.where(steps, folded.applied[changed], sessions.numbers[changed, CLICKS])
    items, codes = _last_clicks(sessions, changed, lengths)
    states = np.where(steps[:, None], sessions.states[changed], np.float32(0))
    sessions.states[changed], sessions.incomplete[changed] = encoder.encode_clicks(
        items, codes, lengths, item_vectors, states
    )
    sessions.models[changed] = encoder.version
    return changed


def _last_clicks(sessions: SessionArrays, rows: Numbers, lengths: Numbers) -> tuple[Keys, Bytes]:
    """Return items and codes of the last clicks of some sessions, so many of each, end to end."""
    ends = np.cumsum(lengths)
    owner = np.repeat(np.arange(len(rows)), lengths)
    column = np.arange(len(owner)) + (sessions.numbers[rows, CLICKS] - ends)[owner]
    return sessions.items[rows[owner], column], sessions.codes[rows[owner], column]


def _encode(encoder: Encoder, item_vectors: ItemVectors, sessions: Sequence[Session]) -> list[Session]:
    if not sessions:
        return []
    states, incomplete = encoder.encode([session.window for session in sessions], item_vectors)
    return [
        replace(session, embedding=state, model_version=encoder.version, incomplete=bool(lacks))
        for session, state, lacks in zip(sessions, states, incomplete, strict=True)
    ]
