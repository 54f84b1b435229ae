"""What user models learn from."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.sparse import csr_matrix

from evaluation.sessions import Ints
from learning.users.catalogue_side import ItemSide
from learning.users.known import Known
from learning.users.models import Space


@dataclass(frozen=True, slots=True)
class Lessons:
    """`known` at c moments and `targets` (c,), the item that was clicked; the items' side and space; how many visitors
    there are, and their `clicks` (u, n), sparse.
    """

    known: Known
    targets: Ints
    side: ItemSide
    space: Space
    user_count: int
    clicks: csr_matrix
