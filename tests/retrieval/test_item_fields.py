"""Fields of items, as expressions read them: from columns and documents, up to date with every change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.ids import item_key
from contracts.items import CatalogueRow, item_of
from expressions.program import condition
from expressions.types import Field, Fields, Scope, Type
from retrieval.catalogue import CatalogueColumns
from retrieval.filters import Filter, left_by, lets_through, mask_of
from retrieval.item_fields import ITEM_FIELDS, ItemFrame, ItemMask

FIELDS = Fields(ITEM_FIELDS, {"attributes": Scope.ITEM})
NOW_MS = 1_790_000_000_000


def put(columns: CatalogueColumns, item_id: str, stock: int = 5, **fields: Any) -> None:
    row = CatalogueRow(item_id, item_of({"title": item_id, **fields}), stock, NOW_MS - 7_200_000, 0, b"")
    columns.apply([(item_key(item_id), row)])


def shop() -> CatalogueColumns:
    columns = CatalogueColumns()
    put(columns, "a", price=20.0, category="shoes/trail", brand="Acme", regions=["FR"], attributes={"size": 42})
    put(
        columns,
        "b",
        0,
        price=80.0,
        supplier="North",
        attributes={"promo": True, "tags": ["sale"], "fit": {"cut": "slim"}},
    )
    put(columns, "c", price=5.0, category="tents", margin=0.5, min_age=18, attributes={"size": "42", "a.b": 1})
    return columns


def kept(columns: CatalogueColumns, text: str) -> list[str]:
    rows = np.arange(columns.count, dtype=np.int32)
    found = condition(text, FIELDS).keeps(ItemFrame(columns, rows, NOW_MS))
    return [columns.item_ids[row] for row in rows[found].tolist()]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("price < 50 and stock > 0", ["a", "c"]),
        ("margin >= 0.5", ["c"]),
        ("min_age == 18", ["c"]),
        ('under(category, "shoes")', ["a"]),
        ("has(category)", ["a", "c"]),
        ('brand != "Peak"', ["a"]),
        ('supplier == "North"', ["b"]),
        ('title in ["a", "b"] and item_id != "a"', ["b"]),
        ("age_hours == 2", ["a", "b", "c"]),
        ('created < "2000-01-01"', []),
        ('"FR" in regions', ["a"]),
        ("attributes.size > 40", ["a"]),
        ('attributes.size == "42"', ["c"]),
        ("attributes.promo", ["b"]),
        ('"sale" in attributes.tags', ["b"]),
        ('attributes.fit.cut == "slim"', ["b"]),
        ("attributes.a.b == 1", ["c"]),
        ("has(attributes.fit)", []),
    ],
)
def test_a_field_is_what_the_item_says(text: str, items: list[str]) -> None:
    assert kept(shop(), text) == items


def test_a_change_of_an_item_is_read() -> None:
    columns = shop()
    assert kept(columns, 'attributes.size > 40 and brand == "Acme"') == ["a"]
    put(columns, "a", brand="Acme", attributes={"size": 39})
    put(columns, "d", brand="Acme", attributes={"size": 41})
    assert kept(columns, 'attributes.size > 40 and brand == "Acme"') == ["d"]


@pytest.mark.parametrize("value", [float("nan"), 10**400, {"a": 1}, None, [[1], "x"]], ids=str)
def test_a_value_that_is_no_use_is_unknown(value: Any) -> None:
    columns = CatalogueColumns()
    put(columns, "a", attributes={"x": value})
    assert kept(columns, "attributes.x > 0 or attributes.x <= 0 or attributes.x") == []


changes = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 2), st.sampled_from([None, 1, 2.5, "x", True, ["x"]])),
    max_size=12,
)


def test_filters_of_requests_leave_nothing_behind_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = shop()
    rows = np.arange(columns.count, dtype=np.int32)
    monkeypatch.setattr("retrieval.item_fields.PASSING_BYTES", 10 * columns.count)
    for n in range(50):
        cheap, dear = condition(f"price < {n}", FIELDS), condition(f"not has(attributes.a{n})", FIELDS)
        assert dear.keeps(ItemFrame(columns, rows, NOW_MS)).tolist() == [True, True, True]
        masked = mask_of(columns, np.ones(3, np.bool_), Filter(keep=(ItemMask(cheap.text, cheap.clauses, True),)))
        assert masked.tolist() == [n > 20, n > 80, n > 5]
    assert columns.fields._columns == {}
    assert columns.fields._derived == {}
    assert 1 <= len(columns.fields._passing) <= 11


@given(rounds=st.lists(changes, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_search_under_a_filter_sees_what_is_true_now(rounds: list[list[tuple[str, int, Any]]]) -> None:
    columns, text = CatalogueColumns(), 'stock > 0 and (attributes.x > 1 or "x" in attributes.x)'
    program = condition(text, FIELDS)
    wanted = Filter(keep=(ItemMask(program.text, program.clauses),))
    for some in rounds:
        for item_id, stock, value in some:
            put(columns, item_id, stock, attributes={} if value is None else {"x": value})
        rows = np.arange(columns.count, dtype=np.int32)
        expected = condition(text, FIELDS).keeps(ItemFrame(columns, rows))
        everything = np.ones(columns.count, np.bool_)
        assert mask_of(columns, everything, wanted).tolist() == expected.tolist()
        assert lets_through(columns, rows, wanted).tolist() == expected.tolist()
        assert left_by(columns, rows, wanted) == {"items": columns.count, "filter": int(expected.sum())}


def masked(text: str, *, passing: bool = False) -> ItemMask:
    found = condition(text, FIELDS)
    return ItemMask(text, found.clauses, passing)


def many(items: int) -> CatalogueColumns:
    columns = CatalogueColumns()
    for at in range(items):
        put(columns, f"i{at}", attributes={"size": at})
    return columns


def test_columns_are_made_ahead_in_slices() -> None:
    columns, wanted = many(100), [masked("attributes.size < 50"), ITEM_FIELDS["supplier"]]
    assert [columns.fields.catch_up(columns, wanted, 40) for _ in range(5)] == [160, 120, 80, 40, 0]
    assert columns.fields.mask(columns, masked("attributes.size < 50")).sum() == 50
    put(columns, "i0", attributes={"size": 70})
    put(columns, "i99", attributes={"size": 1})
    put(columns, "i100", attributes={"size": 2})
    assert columns.fields.catch_up(columns, wanted, 1) == 5
    assert columns.fields.catch_up(columns, wanted, 40) == 0
    assert columns.fields.mask(columns, masked("attributes.size < 50")).sum() == 51


def test_a_request_reads_a_column_of_its_own_rows_alone() -> None:
    columns, size = many(1000), FIELDS.find(("attributes", "size"))
    assert size is not None
    rows = np.array([3, 999, 3], np.int32)
    found = columns.fields.column(columns, size, rows, 0.0, keeps_columns=True)
    assert found.numbers.tolist() == [3.0, 999.0, 3.0]  # type: ignore[union-attr]
    [column] = columns.fields._columns.values()
    assert column.behind == 998


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 30), st.integers(0, 9)),
            st.tuples(st.just("look"), st.integers(0, 40), st.booleans()),
        ),
        max_size=40,
    )
)
@settings(max_examples=80)
def test_whatever_was_looked_at_ahead_a_mask_says_what_the_items_say(steps: list[tuple[str, int, Any]]) -> None:
    columns, held = CatalogueColumns(), dict[int, int]()
    wanted = masked("attributes.size < 5")
    for kind, number, what in steps:
        if kind == "put":
            put(columns, f"i{number}", attributes={"size": what})
            held[number] = what
            continue
        columns.fields.catch_up(columns, [wanted], number)
        if what:
            mask = columns.fields.mask(columns, wanted)
            found = {columns.item_ids[row] for row in np.flatnonzero(mask).tolist()}
            assert found == {f"i{number}" for number, size in held.items() if size < 5}


def test_values_that_no_item_has_any_more_are_let_go() -> None:
    columns, text = shop(), "0123456789" * 6000
    sizes = []
    for number in range(200):
        put(columns, "a", attributes={"note": f"{number}{text}"})
        columns.fields.catch_up(columns, [Field("attributes.note", Type.ANY, Scope.ITEM, ("attributes", "note"))], 1000)
        sizes.append(sum(column.nbytes for column in columns.fields._columns.values()))
    assert max(sizes) < 6_000_000  # of the 12 MB that came
    assert kept(columns, f'attributes.note == "{number}{text[:300]}"') == []
    put(columns, "a", attributes={"note": "short"})
    assert kept(columns, 'attributes.note == "short"') == ["a"]
