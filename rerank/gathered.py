"""What a batch of queries is answered from, between retrieval and the answers, and what answering it read besides."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from rerank.ladder import Rung
from rerank.query import Query
from rerank.ranker import Ranker
from retrieval.candidates import Candidates, Contexts
from retrieval.key_rows import Rows

Float32s = NDArray[np.float32]


class Gathered(msgspec.Struct, frozen=True):
    """What a batch of queries is answered from."""

    queries: Sequence[Query]
    contexts: Contexts
    candidates: Candidates
    rung: Rung
    ranker: Ranker | None
    missing: Sequence[str]
    """What `degraded` says of the models."""
    features: Float32s | None
    """(c, f) that the ranker reads; None where it does not rank."""


class Tape(msgspec.Struct):
    """What one batch read of the tables while it was answered, kept for whoever makes its answer again."""

    gathered: Gathered | None = None
    scores: Float32s | None = None
    """(c,) of the ranker."""
    trending: Rows | None = None
    newest: Rows | None = None
    """Rows that were there to fill the page up."""
