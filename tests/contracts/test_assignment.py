"""Who gets which variant: the same everywhere, in the shares asked for, and for good."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.assignment import (
    BUCKETS,
    HOLDOUT,
    NoRoom,
    allotted,
    bucket_of,
    buckets_of,
    digests_of,
    drawn,
    held_out,
    mask_of,
)

UNITS = [f"visitor-{n}" for n in range(20_000)]
counts = st.integers(0, 200)


def test_a_units_bucket_is_the_same_in_every_process_and_release() -> None:
    assert [bucket_of("of homepage", unit) for unit in ("s1", "s2", "Zoë", "")] == [939, 329, 521, 834]


@settings(max_examples=30)
@given(units=st.lists(st.text(max_size=20), max_size=20), layer=st.text(max_size=30), share=st.floats(0.0, 0.5))
def test_many_units_are_hashed_as_one_is(units: list[str], layer: str, share: float) -> None:
    packed = [unit.encode(errors="surrogatepass") for unit in units]
    assert (digests_of(packed, layer) % BUCKETS).tolist() == [bucket_of(layer, unit) for unit in units]
    held = digests_of(packed, HOLDOUT, layer) < share * 2.0**64
    assert held.tolist() == [held_out(layer, unit, share) for unit in units]


def test_units_fall_into_buckets_evenly() -> None:
    found = Counter(bucket_of("of homepage", unit) // 100 for unit in UNITS)
    square = sum((count - 2000) ** 2 / 2000 for count in found.values())
    assert len(found) == 10
    assert square < 21.7


def test_layers_are_independent_of_each_other() -> None:
    found = Counter((bucket_of("a", unit) // 250, bucket_of("b", unit) // 250) for unit in UNITS)
    square = sum((count - 1250) ** 2 / 1250 for count in found.values())
    assert len(found) == 16
    assert square < 30.6


def test_a_larger_holdout_keeps_out_whom_a_smaller_one_did() -> None:
    small = {unit for unit in UNITS if held_out("a", unit, 0.05)}
    assert 900 < len(small) < 1100
    assert small < {unit for unit in UNITS if held_out("a", unit, 0.1)}
    assert not any(held_out("a", unit, 0.0) for unit in UNITS)


def test_a_unit_held_out_is_of_any_bucket() -> None:
    found = Counter(bucket_of("a", unit) // 250 for unit in UNITS if held_out("a", unit, 0.2))
    assert min(found.values()) > 850


@given(st.dictionaries(st.sampled_from("abcd"), counts, min_size=1), st.sets(st.integers(0, BUCKETS - 1), max_size=150))
def test_variants_share_no_bucket_with_each_other_or_with_others(wanted: dict[str, int], taken: set[int]) -> None:
    found = allotted("x", wanted, {}, taken)
    assert {name: len(buckets) for name, buckets in found.items()} == wanted
    every = [bucket for buckets in found.values() for bucket in buckets]
    assert len(every) == len(set(every))
    assert taken.isdisjoint(every)


@given(st.dictionaries(st.sampled_from("abcd"), counts, min_size=1), st.dictionaries(st.sampled_from("abcd"), counts))
def test_a_variant_that_grows_keeps_what_it_had_and_one_that_shrinks_takes_nothing(
    first: dict[str, int], then: dict[str, int]
) -> None:
    before = allotted("x", first, {}, ())
    after = allotted("x", then, before, ())
    for name in first.keys() & then.keys():
        if then[name] >= first[name]:
            assert before[name] <= after[name]
        else:
            assert after[name] < before[name]


def test_what_one_variant_gives_up_goes_to_another_last() -> None:
    before = allotted("x", {"control": 300, "b": 100}, {}, ())
    after = allotted("x", {"control": 100, "b": 300}, before, ())
    assert after["b"].isdisjoint(before["control"])
    full = allotted("x", {"control": 100, "b": 900}, before, ())
    assert len(full["b"] & before["control"]) == 200


def test_one_that_follows_another_meets_its_groups_mixed() -> None:
    first = allotted("spring", {"control": 500, "b": 500}, {}, ())
    then = allotted("summer", {"control": 500, "b": 500}, {}, ())
    assert 200 < len(first["b"] & then["b"]) < 300


def test_a_full_layer_says_what_is_left() -> None:
    taken = allotted("x", {"a": 900}, {}, ())["a"]
    with pytest.raises(
        NoRoom, match=r"at most 0\.05 \(5%\), which is what other experiments of the layer leave, got 0\.2 \(20%\)"
    ):
        allotted("y", {"control": 50, "b": 200}, {}, taken)


@given(st.sets(st.integers(0, BUCKETS - 1)))
def test_a_mask_holds_its_buckets(buckets: set[int]) -> None:
    assert buckets_of(mask_of(buckets)) == buckets


@pytest.mark.parametrize("mask", ["", "x", "-1", "f" * 251])
def test_what_is_no_mask_is_refused(mask: str) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|expected a mask"):
        buckets_of(mask)


def test_units_are_drawn_as_often_as_shares_say() -> None:
    found = Counter(drawn("prices", unit, (0.05, 0.25, 0.7)) for unit in UNITS)
    square = sum((found[at] - 20_000 * share) ** 2 / (20_000 * share) for at, share in enumerate((0.05, 0.25, 0.7)))
    assert square < 13.8
    assert [drawn("prices", unit, (0.5, 0.5)) for unit in ("s1", "s2", "Zoë", "")] == [0, 0, 1, 1]


def test_only_units_that_a_share_moves_past_change_their_variant() -> None:
    before = {unit: drawn("prices", unit, (0.5, 0.5)) for unit in UNITS}
    after = {unit: drawn("prices", unit, (0.3, 0.7)) for unit in UNITS}
    changed = [unit for unit in UNITS if before[unit] != after[unit]]
    assert 3_800 < len(changed) < 4_200
    assert {(before[unit], after[unit]) for unit in changed} == {(0, 1)}


def test_a_draw_is_independent_of_a_units_bucket_and_of_other_experiments() -> None:
    found = Counter((drawn("a", unit, (0.25,) * 4), drawn("b", unit, (0.25,) * 4)) for unit in UNITS)
    square = sum((count - 1250) ** 2 / 1250 for count in found.values())
    assert (len(found), square < 30.6) == (16, True)
    half = Counter(drawn("a", unit, (0.5, 0.5)) for unit in UNITS if bucket_of("of homepage", unit) < 500)
    assert abs(half[0] - half[1]) < 400


@given(st.lists(st.floats(0, 1), min_size=2, max_size=10).filter(lambda parts: sum(parts) > 0.01))
def test_a_variant_without_a_share_is_never_drawn(parts: list[float]) -> None:
    shares = [part / sum(parts) for part in parts]
    assert all(shares[drawn("x", unit, shares)] > 0.0 for unit in UNITS[:50])
