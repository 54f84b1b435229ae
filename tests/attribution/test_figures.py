from __future__ import annotations

import pytest

from attribution.cells import Cell
from attribution.facts import NOT_RECOMMENDED, Dims
from attribution.figures import expect_asked, figures, table
from contracts.errors import SettingsError

HOME = Dims("yes", "home", "2")
CELLS = {
    Cell(472_222, HOME, "pages"): 100_000,
    Cell(472_222, HOME, "shown"): 2_000_000,
    Cell(472_222, HOME, "sessions"): 40_000,
    Cell(472_223, HOME, "clicks"): 100_000,
    Cell(472_223, HOME, "orders"): 20_000,
    Cell(472_223, HOME, "carts"): 40_000,
    Cell(472_223, HOME, "carts_bought"): 10_000,
    Cell(472_223, HOME, "revenue:EUR"): 500_000,
    Cell(472_223, HOME, "returned:EUR"): 100_000,
    Cell(472_223, HOME, "margin:EUR"): 80_000,
    Cell(472_222, HOME, "visitors"): 50_000,
    Cell(472_222, HOME, "users"): 30_000,
    Cell(472_222, HOME, "buyers"): 20_000,
    Cell(472_222, HOME, "lifetime:EUR"): 900_000,
    Cell(472_223, HOME, "first_purchases"): 30_000,
    Cell(472_223, HOME, "first_purchase_seconds"): 108_000 * 10_000,
    Cell(472_223, HOME, "first_purchase_in_23"): 20_000,
    Cell(472_223, HOME, "first_purchase_in_33"): 10_000,
    Cell(472_223, NOT_RECOMMENDED, "revenue:USD"): 70_000,
    Cell(472_222, HOME, "shown@10"): 100_000,
    Cell(472_222, HOME, "shown@2"): 100_000,
    Cell(472_223, HOME, "clicks@2"): 30_000,
}


def test_figures_of_a_scenario() -> None:
    rows = table(CELLS.items(), ["recommended", "scenario"])
    assert list(rows) == [("no", ""), ("yes", "home")]
    found = figures(rows["yes", "home"])
    assert (found["pages"], found["shown"], found["clicks"], found["ctr"]) == (10, 200, 10, 0.05)
    assert (found["conversion"], found["cart_abandonment"], found["viewed_ctr"]) == (0.5, 0.75, None)
    assert (found["revenue:EUR"], found["returned:EUR"], found["margin:EUR"]) == (40, 10, 8)
    assert (found["revenue_per_thousand:EUR"], found["margin_per_thousand:EUR"]) == (200, 40)
    assert (found["average_order:EUR"], found["revenue_per_visit:EUR"]) == (25, 10)
    assert (found["revenue_per_visitor:EUR"], found["lifetime_value:EUR"]) == (8, 30)
    assert (found["visitors"], found["lifetime_value_of_buyers:EUR"]) == (5, 45)
    assert found["first_purchase_hours"] == 10
    assert found["first_purchase_hours_median"] == pytest.approx((2048 + 0.75 * (2896.3 - 2048)) / 3600, rel=1e-4)
    assert figures(rows["no", ""], ["revenue"]) == {"revenue:USD": 7}


def test_clicks_by_position_and_by_hour() -> None:
    rows = table(CELLS.items(), ["position"])
    assert list(rows) == [("2",), ("10",)]
    assert figures(rows[("2",)], ["ctr"]) == {"ctr": 0.3}
    assert list(table(CELLS.items(), ["hour"])) == [("2023-11-14T22:00Z",), ("2023-11-14T23:00Z",)]


def test_a_dimension_or_metric_that_there_is_not_is_named() -> None:
    with pytest.raises(SettingsError, match=r"expected a dimension of recommended, .* got 'colour'"):
        expect_asked(["colour"], [])
    with pytest.raises(SettingsError, match=r"expected a metric of pages, .* got 'luck'"):
        expect_asked(["scenario"], ["luck"])


def test_what_was_meant_is_told_of_a_name_with_a_typo() -> None:
    with pytest.raises(SettingsError, match=r"got 'positon': did you mean position\?"):
        expect_asked(["positon"], [])
    with pytest.raises(SettingsError, match=r"got 'clik': did you mean clicks\?"):
        expect_asked(["scenario"], ["clik"])


def test_metrics_none_of_which_is_counted_by_position_are_refused() -> None:
    with pytest.raises(SettingsError, match="expected shown, clicks, ctr by position, got revenue, orders"):
        expect_asked(["position"], ["revenue", "orders"])
    expect_asked(["position"], ["revenue", "ctr"])
