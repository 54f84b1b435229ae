"""Losses over a next click and its competitors, on logits that are already corrected for sampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch.nn import functional as F

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits (p, c), -inf for what does not compete, and the target's column (p,): the mean loss."""

_SCORE_PENALTY: Final = 0.001


def bpr_max(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the BPR-max loss (Hidasi and Karatzoglou, CIKM 2018): a target should beat its competitors, the strong
    ones most; scores are kept from growing by a penalty.
    """
    wanted = logits.gather(1, target[:, None])  # (p, 1)
    others = logits.scatter(1, target[:, None], -torch.inf)  # (p, c)
    log_weights = F.log_softmax(others, dim=1)
    competes = torch.isfinite(others)
    finite = torch.where(competes, others, 0.0)
    beaten = torch.logsumexp(log_weights + F.logsigmoid(wanted - finite), dim=1)  # (p,)
    penalty = (log_weights.exp() * finite.square()).sum(dim=1)  # (p,)
    return (_SCORE_PENALTY * penalty - beaten).mean()


LOSSES: Final[Mapping[str, Loss]] = {"softmax": F.cross_entropy, "bpr-max": bpr_max}
