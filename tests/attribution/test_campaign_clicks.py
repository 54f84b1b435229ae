"""A click in an email counts for the page that was sent, as docs/campaigns.md says."""

from __future__ import annotations

import pytest

from attribution.cells import without_zeros
from attribution.facts import SCALE
from attribution.figures import table
from tests.attribution.test_join import DAY, MINUTE, Kept, outcome, page


@pytest.mark.parametrize(("named", "clicks", "purchases"), [({"user_id": "anna"}, 1, 1), ({}, 0, 0)])
def test_a_click_from_an_email_counts_by_its_request_id_and_its_user(
    named: dict[str, str], clicks: int, purchases: int
) -> None:
    said = {"placement": "email", "scenario": "autumn", "version": 3}
    sent = page("9f", 0, ["a", "b"], said, session_id="c-9f", user_id="anna")
    clicked = outcome("e-1", "view", 2 * DAY, "b", session_id="laptop", request_id="9f", **named)
    bought = outcome("e-2", "purchase", 2 * DAY + MINUTE, "b", session_id="laptop", value=20, **named)
    kept = Kept()
    kept.take([sent])
    kept.take([clicked, bought])
    counts = table(without_zeros(kept.cells).items(), ("recommended", "scenario"))[("yes", "autumn")]
    found = [counts[name] // SCALE for name in ("pages", "clicks", "purchases")]
    assert found == [1, clicks, purchases]
