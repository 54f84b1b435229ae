from __future__ import annotations

import pytest

from evaluation.splits import cut_for_last_share


def test_the_cut_leaves_the_last_share_of_the_clicks_behind_it() -> None:
    assert cut_for_last_share([50, 10, 30, 20, 40], 0.4) == 40
    with pytest.raises(ValueError, match="share between 0 and 1, got 2"):
        cut_for_last_share([1], 2)
    with pytest.raises(ValueError, match="at least one click"):
        cut_for_last_share([], 0.5)
