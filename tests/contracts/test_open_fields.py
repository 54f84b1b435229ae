"""Items and events are open: a client's fields come back, whatever their names, and none takes the place of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contracts.codec import decode_row, encode_row
from contracts.events import Event, parse_event
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item, ItemPut, decode_change, encode_change, item_document, item_of
from eventlog.files import read_events, read_header, read_items, read_raw, write_events, write_items
from flows.item_steps import change_rows
from retrieval.catalogue import decode_document, encode_document
from tests.open_fields import NAMES, named, open_fields

IDS = st.text(min_size=1, max_size=256)
ITEM_FIELDS = tuple(Item.model_fields)
VALID: dict[str, Any] = {
    "title": "Trail shoe",
    "description": None,
    "category": "shoes//trail",
    "price": 129,
    "margin": 0.35,
    "regions": ["eu"],
    "attributes": {"colour": "moss", "size": None},
}
EVENT: dict[str, Any] = {
    "v": 1,
    "event_id": "e-1",
    "type": "view",
    "session_id": "s-1",
    "item_id": "a",
    "ts": 5,
    "context": {name: name for name in NAMES},
}
WITH_FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def put_row(item_id: str, document: dict[str, Any]) -> CatalogueRow:
    """The row that a put becomes: through the items log, the items flow and the catalogue table."""
    change = decode_change(encode_change(ItemPut(item_id=item_id, item=Item.model_validate(document))))
    assert isinstance(change, ItemPut)
    row = change_rows([(0, change)], {}, now_ms=7).rows[item_key(item_id)]
    assert row is not None
    return decode_row(encode_row(row))


@given(IDS, open_fields(*ITEM_FIELDS))
@example("p1", dict.fromkeys(NAMES, "A"))
@example("A", {"item_id": "B"})
def test_a_put_comes_back_from_the_table_with_its_id_and_all_fields(item_id: str, own: dict[str, Any]) -> None:
    row = put_row(item_id, {**VALID, **own, "stock": 3})
    own.pop("item_id", None)
    assert (row.item_id, row.stock, row.created_ms) == (item_id, 3, 7)
    assert row.item.model_dump(exclude_unset=True, exclude_none=True) == {
        **{name: value for name, value in VALID.items() if value is not None},
        **own,
    }


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_a_field_like_another(name: str) -> None:
    assert put_row("p1", {"title": "x", name: "A"}).item.model_extra == {name: "A"}


def test_very_many_names_come_back() -> None:
    own = {f"field {number}": number for number in range(100_000)}
    assert put_row("p1", {"title": "x", **own}).item.model_extra == own


@given(open_fields(*ITEM_FIELDS))
@example(dict.fromkeys(NAMES, "A"))
def test_a_snapshot_gives_a_document_back_with_all_fields(own: dict[str, Any]) -> None:
    item = item_of({**own, "title": "Shoe", "category": "a/b", "price": 1.5})
    assert decode_document(encode_document(item)) == item


@given(open_fields(*ITEM_FIELDS))
@example(dict.fromkeys(NAMES, "A"))
def test_an_item_built_from_its_fields_is_the_item_that_was_validated(own: dict[str, Any]) -> None:
    validated = Item.model_validate({**VALID, **own})
    built = item_of({**VALID, **own})
    assert built == validated
    assert built.model_fields_set == validated.model_fields_set
    assert (built.category_path, built.stock, built.brand) == (("shoes", "shoes/trail"), None, None)
    assert built.model_copy(update={"stock": 2}).stock == 2
    with pytest.raises(ValueError, match="frozen"):
        built.title = "other"


def test_a_document_without_a_title_is_no_item() -> None:
    with pytest.raises(ValueError, match="expected a title, got the fields brand, price"):
        item_of({"brand": "b", "price": 1.0})


@given(IDS, named(st.just("item_id") | st.text(max_size=3)))
@example("A", {"item_id": "B"})
@example("A", {"item_id": None})
def test_the_id_of_a_document_is_ours_whatever_the_item_holds(item_id: str, own: dict[str, Any]) -> None:
    document = item_document(item_id, item_of({**own, "title": "Shoe"}))
    assert document["item_id"] == item_id
    assert next(iter(document)) == "item_id"
    assert document["title"] == "Shoe"


@WITH_FILES
@given(IDS, open_fields(*ITEM_FIELDS))
@example("A", {"item_id": "B", **dict.fromkeys(NAMES, "A")})
def test_an_items_file_gives_items_back(tmp_path: Path, item_id: str, own: dict[str, Any]) -> None:
    (tmp_path / "items.jsonl").unlink(missing_ok=True)  # of another example
    write_items(tmp_path / "items.jsonl", [(item_id, Item.model_validate({**VALID, **own}))])
    own.pop("item_id", None)
    assert [(one, item.model_extra) for one, item in read_items(tmp_path / "items.jsonl")] == [(item_id, own)]


@WITH_FILES
@given(open_fields(*Event.model_fields))
@example(dict.fromkeys(NAMES, "A"))
@example({"format": "nextclick-events", "events": 0})
def test_an_event_comes_back_from_a_file_with_all_fields(tmp_path: Path, own: dict[str, Any]) -> None:
    document = {**own, **EVENT}
    event = parse_event(document, now_ms=10**13)
    assert isinstance(event, Event)
    assert event.model_extra == own
    for kind in (event, document, orjson.dumps(document)):
        write_events(tmp_path / "a.jsonl", [kind])
        assert [orjson.loads(line) for line in read_raw(tmp_path / "a.jsonl")] == [document]
        assert list(read_events(tmp_path / "a.jsonl")) == [event]
    (tmp_path / "bare.jsonl").write_bytes(orjson.dumps(document))
    assert list(read_events(tmp_path / "bare.jsonl")) == [event]
    assert read_header(tmp_path / "a.jsonl").events == 1
