"""Interleaving: a fair draft, credit by click, and much less traffic than two groups."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from contracts.errors import ImportFormatError
from experiments.interleaving import credit, team_draft
from experiments.interleaving_simulation import pages_needed
from experiments.preference import preference, preferred, said
from experiments.tables import Table, Texts


def test_a_draft_gives_each_ranking_its_best_item_that_is_left() -> None:
    drafts = [team_draft("abcd", "bcde", 4, np.random.default_rng(seed)) for seed in range(200)]
    assert {"".join(page[:2]) for page, _ in drafts} == {"ab", "ba"}
    assert {tuple(sorted(teams)) for _, teams in drafts} == {(0, 0, 1, 1)}
    assert 70 < sum(teams[0] for _, teams in drafts) < 130


def test_short_rankings_end_the_page() -> None:
    assert sorted(team_draft("ab", "ba", 9, np.random.default_rng(1))[0]) == ["a", "b"]
    assert team_draft("", "", 3, np.random.default_rng(1)) == ([], [])
    assert team_draft("", "ab", 3, np.random.default_rng(1)) == (["a", "b"], [1, 1])


def test_clicks_credit_the_ranking_that_brought_the_item() -> None:
    assert credit("abcd", [0, 1, 1, 0], ["b", "c", "a", "a", "z"]) == 1


def test_equal_rankings_are_no_preference_and_a_better_one_is() -> None:
    rng = np.random.default_rng(2)
    mean, low, high = preference(rng.choice([-1.0, 0.0, 1.0], 5_000), 5_000)
    assert low < 0.0 < high
    mean, low, high = preference(rng.choice([-1.0, 0.0, 1.0], 5_000, p=[0.2, 0.5, 0.3]), 5_000)
    assert 0.0 < low < mean < high
    with pytest.raises(ValueError, match="two units"):
        preference(np.ones(1), 10)


def test_interleaving_needs_fewer_pages_than_two_groups() -> None:
    found = [pages_needed(3_000, seed, (1.0, 0.3)) for seed in range(5)]
    assert sum(one or 3_000 for one, _ in found) < sum(two or 3_000 for _, two in found)


def test_the_rooms_that_serve_can_import_it_without_scipy() -> None:
    code = "import sys, experiments.thompson, experiments.interleaving; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def units(credits: list[float]) -> Table:
    codes = np.zeros(len(credits), np.int64)
    texts = {"first": Texts(codes, ("control",)), "second": Texts(codes, ("b",))}
    return Table(len(credits), {"credit": np.array(credits)}, texts)


def test_a_table_of_credits_says_which_variant_is_preferred() -> None:
    found = preferred(units([1.0] * 400 + [0.0] * 500 + [-1.0] * 100), 1_000)
    assert (found.preferred, found.wins, found.mean) == ("b", (100, 400), 0.3)
    assert said(found) == (
        "b is preferred to control: mean credit +0.3000 [+0.2385, +0.3615] a unit (1,000 units; control 100, b 400)."
    )
    turned = preferred(units([-1.0] * 400 + [0.0] * 500 + [1.0] * 100), 1_000)
    assert turned.preferred == "control"
    even = preferred(units([1.0] * 110 + [0.0] * 500 + [-1.0] * 100), 1_000)
    assert even.preferred is None
    assert said(even).startswith("Go on: neither control nor b is preferred yet, mean credit +0.0141 [")


def test_a_few_units_are_no_preference() -> None:
    found = preferred(units([1.0] * 49 + [0.0] * 500), 1_000)
    assert found.preferred is None
    assert said(found) == "Wait: too early to tell (549 units of 200, 49 of 50 that preferred one)."
    with pytest.raises(ImportFormatError, match="two units"):
        preferred(units([1.0]), 1_000)
