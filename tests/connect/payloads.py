"""Payloads as vendors document them, written for these tests."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import orjson

FOLDER = Path(__file__).parent / "payloads"
NOON = 1_796_126_400_000
"""2026-12-01 12:00 UTC, when most of these payloads happen."""

_ECOMMERCE = "iglu:com.snowplowanalytics.snowplow.ecommerce"


def payload(name: str) -> Any:
    """Return a payload that lies beside this file, decoded."""
    return orjson.loads((FOLDER / f"{name}.json").read_bytes())


def packed(document: Any) -> str:
    """Return JSON as a tracker packs it: base64 for addresses, without padding."""
    return urlsafe_b64encode(orjson.dumps(document)).decode().rstrip("=")


def ecommerce(action: str, *products: dict[str, Any], order: dict[str, Any] | None = None, **event: Any) -> Any:
    """Return a Snowplow payload of one ecommerce action with its entities, packed."""
    entities = [{"schema": f"{_ECOMMERCE}/product/jsonschema/1-0-0", "data": one} for one in products]
    if order is not None:
        entities.append({"schema": f"{_ECOMMERCE}/transaction/jsonschema/1-0-0", "data": order})
    inner = {"schema": f"{_ECOMMERCE}/snowplow_ecommerce_action/jsonschema/1-0-2", "data": {"type": action}}
    outer = {"schema": "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0", "data": inner}
    beside = {"schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0", "data": entities}
    return {
        "schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
        "data": [{"e": "ue", "eid": "e-9", "sid": "visit-3", "ue_px": packed(outer), "cx": packed(beside), **event}],
    }
