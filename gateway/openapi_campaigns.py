"""The campaign paths of the OpenAPI document."""

from __future__ import annotations

from typing import Final

from gateway.campaign_pages import (
    MOST_ITEMS,
    MOST_ROWS,
    CapAsked,
    CheckAnswer,
    CheckedItem,
    CheckedRow,
    CheckRequest,
    PickedItem,
    PickedRow,
)
from gateway.openapi_parts import Json, body_of, json_of, operation, problems, ref

MODELS: Final = (CapAsked, CheckRequest, PickedRow, PickedItem, CheckAnswer, CheckedRow, CheckedItem)
_ASKED: Final[Json] = {
    "campaign": "autumn",
    "cap": {"most": 2, "within": "P7D"},
    "rows": [
        {
            "user_id": "anna",
            "at_ms": 1767225600000,
            "items": [{"item_id": "sku-7", "price": 129.0}, {"item_id": "sku-8", "price": 20.0}],
        }
    ],
}
_ANSWERED: Final[Json] = {
    "rows": [
        {
            "user_id": "anna",
            "send": True,
            "wrong": [],
            "items": [{"item_id": "sku-7", "wrong": None}, {"item_id": "sku-8", "wrong": "out_of_stock"}],
        }
    ],
    "degraded": [],
}


def campaign_paths() -> Json:
    """Return the paths of campaigns."""
    return {
        "/api/campaigns/check": {
            "post": operation(
                "Say which picks of a campaign are still right",
                "campaigns",
                {200: json_of(CheckAnswer, _ANSWERED)} | problems(400, 403, 408, 413, 415, 422, 503),
                description="To be asked right before sending: in stock, the price as it was, not bought since, not "
                f"hidden, consent, cap. At most {MOST_ROWS:,} rows and {MOST_ITEMS:,} items; a row may be a whole line "
                "of the picks' JSON lines.",
                requestBody=body_of({"application/json": {"schema": ref(CheckRequest), "example": _ASKED}}),
            )
        }
    }
