"""The loss of a batch, by its formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from session_model.batches import Sampler  # noqa: E402
from session_model.fitting import batch_loss  # noqa: E402
from session_model.histories import from_events  # noqa: E402
from session_model.model import TwoTowers  # noqa: E402
from session_model.training import read_content  # noqa: E402
from tests.session_model.test_passed_over import click, page  # noqa: E402
from tests.session_model.test_training import SMALL  # noqa: E402

pytestmark = pytest.mark.torch


def test_what_was_passed_over_competes_as_one_more_candidate() -> None:
    clicks = [click("z", item, at) for at, item in enumerate("abcdef")]
    histories = from_events(
        [*clicks, click("s", "f", 2000), page("s", "r", 2001, "b", "c"), click("s", "c", 2002, "r")],
        idle_gap_ms=1000,
        max_clicks=50,
    )
    torch.manual_seed(0)
    everything = read_content(histories.item_ids, {}, np.ones(6, np.bool_), SMALL)
    model = TwoTowers(everything, 8, id_dropout=0.0, input_dropout=0.0).eval()
    sampler = Sampler.of(histories, half_life_share=0.5, power=0.5, batch_sessions=1, negatives=1, passed=2)
    batch = sampler.batch(np.array([1]), np.random.default_rng(1))
    without = replace(batch, passed_rows=np.zeros(0, np.int64), passed=np.zeros((1, 0), np.int64))
    with torch.no_grad():
        f, b, c = model.item_vectors(np.array([5, 1, 2]))
        state = torch.nn.functional.normalize(model.states(f[None, None], torch.tensor([[1]]))[0, 0], dim=0)
        more = batch_loss(model, batch, 14.0).exp() - batch_loss(model, without, 14.0).exp()
        corrected = 14.0 * state @ c - float(batch.log_q[batch.target[0]])
    assert more.item() == pytest.approx(float((14.0 * state @ b - corrected).exp()), rel=1e-3)
