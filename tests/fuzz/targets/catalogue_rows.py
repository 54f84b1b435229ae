"""Rows of the catalogue table: taken whole into columns, index and a listing, or refused before anything is changed."""

from __future__ import annotations

from contracts.ids import item_key
from gateway.browse import document_at
from gateway.wire import encoded
from retrieval.catalogue import CatalogueColumns
from retrieval.intake import Intake
from tests.damage import WRONG_DOCUMENTS, catalogue_row, with_document
from tests.fuzz.target import Target, dumped

KEY = item_key("bad")
FULL = {
    **{"item_id": "bad", "title": "t", "category": "a/b", "brand": "B", "price": 5.0, "margin": 0.3, "regions": ["eu"]},
    **{"min_age": 18, "image_url": "u", "image_vector": [0.5], "attributes": {"a": [1]}, "own": {"x": None}},
}


def check(raw: bytes) -> None:
    """An input is a row, or (where it begins with a bracket) the document in one."""
    raw = with_document(raw) if raw[:1] in (b"{", b"[") else raw
    columns = CatalogueColumns(dim=2, model_version=9)
    try:
        Intake(columns).take([(KEY, raw)])
    except Exception:
        assert columns.count == 0
        raise
    encoded(document_at(columns, 0))
    kept = columns.compacted()
    assert (kept.count, len(kept.documents.raw(0)) > 0) == (1, True)
    assert len(kept.documents[0].category_path) >= 0


TARGET = Target(
    check,
    {
        "plain": catalogue_row("bad"),
        "vector": catalogue_row("bad", bytes(8), 9),
        "full": dumped(FULL),
    },
    odd=tuple(one if isinstance(one, bytes) else dumped(one) for one in WRONG_DOCUMENTS.values()),
    code=("contracts.codec", "contracts.plausible", "contracts.items", "retrieval.intake", "retrieval.catalogue"),
    refusals=(ValueError,),
    words=(b'"item_id":', b'"title":', b'"price":', b'"regions":', b'"min_age":', b'"category":', b'"image_url":'),
)
