"""The two towers in torch: what `item_tower` and `encoder` compute in numpy, with gradients. Training only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from session_model.content import Field
from session_model.memory import CODES
from session_model.neighbours import Neighbours

FIRST_GATE_LOGIT = 0.5


@dataclass(frozen=True, slots=True)
class ItemContent:
    """The content of n items as the model reads it.

    Item i's tokens are `tokens[starts[i]:starts[i + 1]]`, rows of the token table, with `fields` and `weights`
    beside them. `token_keys` (vocabulary,) are ascending hashes. `images` (n, image length) and `texts` (n, text
    length) are unit vectors, zero where there is none. `any_content` (n,) says which items have any of it.
    """

    token_keys: NDArray[np.uint64]
    tokens: NDArray[np.int64]
    fields: NDArray[np.uint8]
    weights: NDArray[np.float32]
    starts: NDArray[np.int64]
    images: NDArray[np.float32]
    texts: NDArray[np.float32]
    any_content: NDArray[np.bool_]


class TwoTowers(nn.Module):  # type: ignore[misc]
    """Item vectors from ids, their neighbours' ids and content; session states from item vectors."""

    def __init__(
        self,
        content: ItemContent,
        dim: int,
        *,
        id_dropout: float,
        input_dropout: float,
        memory: int = 0,
        memory_dropout: float = 0.0,
        neighbours: Neighbours | None = None,
        neighbour_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        items = len(content.any_content)
        self.dim, self.id_dropout, self.input_dropout = dim, id_dropout, input_dropout
        self.content, self.neighbours, self.neighbour_dropout = content, neighbours, neighbour_dropout
        # an item with content starts as its content; its id vector learns what content does not say
        first_ids = torch.randn(items, dim) / dim**0.5
        first_ids[torch.from_numpy(content.any_content)] = 0.0
        self.id_table = nn.Parameter(first_ids)  # (items, d)
        self.token_table = nn.Parameter(torch.randn(len(content.token_keys), dim) / dim**0.5)  # (tokens, d)
        self.field_weights = nn.Parameter(torch.ones(len(Field)))
        self.image_projection = nn.Parameter(torch.randn(content.images.shape[1], dim) / dim**0.5)
        self.text_projection = nn.Parameter(torch.randn(content.texts.shape[1], dim) / dim**0.5)
        self.pull = nn.Parameter(torch.zeros(2))  # of neighbours: the same for all, and by clicks
        self.gate = nn.Linear(dim, dim)
        nn.init.normal_(self.gate.weight, std=0.1 / dim**0.5)
        nn.init.constant_(self.gate.bias, FIRST_GATE_LOGIT)
        self.gate_shift = nn.Parameter(torch.zeros(CODES, dim))
        self.memory = memory
        if memory:
            self.code_input = nn.Parameter(torch.zeros(CODES, dim))
            self.recurrence = nn.GRU(dim, memory, batch_first=True)
            self.out = nn.Linear(memory, dim, bias=False)
            self.mean_weight = nn.Parameter(torch.ones(1))  # beside the memory's; serving has it in P
            self.memory_dropout = nn.Dropout(memory_dropout)

    def item_vectors(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return unit vectors (n, d) of items (n,). In training, items with content lose their id at random."""
        ids = self.id_vectors(rows)  # (n, d)
        if not self.content.any_content.any():
            return F.normalize(ids, dim=1)
        if self.training and self.id_dropout:
            dropped = torch.rand(len(rows), 1) < self.id_dropout  # (n, 1)
            ids = ids.masked_fill(dropped & torch.from_numpy(self.content.any_content[rows])[:, None], 0.0)
        return F.normalize(ids + self._content_vectors(rows), dim=1)

    def id_vectors(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the id vectors (n, d) of items (n,), with what they take from their neighbours.

        In training edges are left out at random: the graph knows the very clicks that are asked for.
        """
        at = torch.from_numpy(rows)
        ids = F.embedding(at, self.id_table)  # (n, d)
        if self.neighbours is None:
            return ids
        weights = torch.from_numpy(self.neighbours.weights[rows])  # (n, k)
        near = F.embedding_bag(
            torch.from_numpy(self.neighbours.rows[rows]),
            self.id_table,
            per_sample_weights=F.dropout(weights, self.neighbour_dropout, self.training),
            mode="sum",
        )  # (n, d)
        clicks = torch.from_numpy(np.log1p(self.neighbours.clicks[rows]).astype(np.float32))
        return ids + 2.0 * torch.sigmoid(self.pull[0] + self.pull[1] * clicks)[:, None] * near

    def _content_vectors(self, rows: NDArray[np.int64]) -> torch.Tensor:
        content = self.content
        lengths = content.starts[rows + 1] - content.starts[rows]
        offsets = np.cumsum(lengths) - lengths
        flat = np.repeat(content.starts[rows] - offsets, lengths) + np.arange(int(lengths.sum()))
        weights = (
            torch.from_numpy(content.weights[flat]) * self.field_weights[torch.from_numpy(content.fields[flat]).long()]
        )
        vectors = F.embedding_bag(
            torch.from_numpy(content.tokens[flat]),
            self.token_table,
            torch.from_numpy(offsets),
            mode="sum",
            per_sample_weights=weights,
        )  # (n, d)
        if content.images.shape[1]:
            vectors = vectors + torch.from_numpy(content.images[rows]) @ self.image_projection
        if content.texts.shape[1]:
            vectors = vectors + torch.from_numpy(content.texts[rows]) @ self.text_projection
        return vectors

    def states(self, vectors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Return the state after every click (b, t, width), from vectors (b, t, d) and EventCodes (b, t)."""
        vectors = F.dropout(vectors, self.input_dropout, self.training)
        gates = torch.sigmoid(self.gate(vectors) + self.gate_shift[codes])  # (b, t, d)
        mean = torch.zeros_like(vectors[:, 0])  # (b, d)
        after = []
        for vector, gate in zip(vectors.unbind(1), gates.unbind(1), strict=True):
            mean = torch.lerp(mean, vector, gate)
            after.append(mean)
        means = torch.stack(after, dim=1)  # (b, t, d)
        if not self.memory:
            return means
        memories, _ = self.recurrence(vectors * self.dim**0.5 + self.code_input[codes])  # (b, t, r)
        return torch.cat([means, memories], dim=2)

    def queries(self, states: torch.Tensor) -> torch.Tensor:
        """Return unit vectors (..., d) to compare with items, of states (..., width)."""
        means = states[..., : self.dim]
        if self.memory:
            means = means * self.mean_weight.abs() + self.out(self.memory_dropout(states[..., self.dim :]))
        return F.normalize(means, dim=-1)

    def export(self, id_keys: NDArray[np.uint64], trained: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """Return the arrays that `ItemTower` and `SessionEncoder` load; ids (items,) that were not trained stay out.

        Tables are float16: unit vectors need no more, and it halves the artifact.
        """
        order = np.argsort(id_keys)
        order = order[trained[order]]
        text = {"text_projection": _array(self.text_projection)} if len(self.text_projection) else {}
        return {
            **text,
            "id_keys": id_keys[order],
            "id_table": self._exported_ids(order).astype(np.float16),
            "token_keys": self.content.token_keys,
            "token_table": _array(self.token_table).astype(np.float16),
            "field_weights": _array(self.field_weights),
            "image_projection": _array(self.image_projection),
            "gate_weight": _array(self.gate.weight),
            "gate_bias": _array(self.gate.bias),
            "gate_shift": _array(self.gate_shift),
            **(self._exported_memory() if self.memory else {}),
        }

    def _exported_memory(self) -> dict[str, NDArray[Any]]:
        """Return MEMORY_ARRAYS. What scales inputs and the mean is multiplied in here, so that serving does neither.

        A query has unit norm, so dividing P by the mean's weight is the same as multiplying the mean by it.
        """
        cell = self.recurrence
        heard = _array(cell.weight_ih_l0)  # (3r, d)
        return {
            "memory_input": heard * np.float32(self.dim**0.5),
            "memory_code": _array(self.code_input) @ heard.T + _array(cell.bias_ih_l0),
            "memory_weight": _array(cell.weight_hh_l0),
            "memory_bias": _array(cell.bias_hh_l0),
            "memory_out": _array(self.out.weight) / _array(self.mean_weight.abs()),
        }

    def _exported_ids(self, order: NDArray[np.intp]) -> NDArray[np.float32]:
        with torch.no_grad():
            was, _ = self.training, self.eval()
            ids: NDArray[np.float32] = self.id_vectors(order.astype(np.int64)).numpy()
            self.train(was)
        return ids


def _array(parameter: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = parameter.detach().numpy().copy()
    return array
