"""The path of payloads of others in the OpenAPI document."""

from __future__ import annotations

from typing import Final

from connect.adapters import ADAPTERS
from gateway.collect import FORM, CollectAnswer, RejectedPart
from gateway.openapi_parts import Json, body_of, json_of, operation, path_parameter, problems

MODELS: Final = (CollectAnswer, RejectedPart)
_PAYLOAD: Final[Json] = {
    "type": "track",
    "event": "Product Viewed",
    "messageId": "ajs-1",
    "anonymousId": "visitor-7",
    "properties": {"product_id": "tent-2", "price": 129.9, "currency": "EUR"},
}
_ANSWER: Final[Json] = {
    "accepted": 1,
    "ignored": 1,
    "rejected": [
        {
            "pointer": "/batch/2",
            "name": "Quiz Finished",
            "reason": "unknown_event: segment Quiz Finished at /batch/2: 'Quiz Finished' is not an event that the "
            "adapter knows",
        }
    ],
    "notes": [],
    "token": "p3:88122",
}


def collect_paths() -> Json:
    """Return the path of payloads."""
    about = (
        "Payloads as their vendors publish them: GA4's Measurement Protocol, Segment's HTTP API, Snowplow's tracker "
        "protocol, CloudEvents 1.0 (structured, batch and binary), Matomo's tracking API (JSON, form, or address). "
        "Answered once the events that were made of it are durably in the log. What says nothing of an item is ignored "
        "and counted; what cannot be taken is named and kept as a dead letter. The key may be GA4's `api_secret`, "
        "Matomo's `token_auth`, the user of Basic authentication, or `writeKey` of Segment's body. What says that "
        "its visitor denied consent (`consent` of GA4, `context.consent` of Segment) is not kept. A repeated delivery "
        "counts once."
    )
    anything: Json = {"schema": {}, "example": _PAYLOAD}
    kinds = ("application/json", "text/plain", "application/cloudevents+json", "application/cloudevents-batch+json")
    content = dict.fromkeys(kinds, anything) | {FORM: {"schema": {"type": "object"}}}
    vendor = path_parameter("vendor", {"type": "string", "enum": list(ADAPTERS)})
    return {
        "/api/collect/{vendor}": {
            "post": operation(
                "Send a payload of another tracker",
                "events",
                {202: json_of(CollectAnswer, _ANSWER, "Taken.")} | problems(400, 404, 408, 413, 415, 422, 503),
                description=about,
                parameters=[vendor],
                requestBody={**body_of(content), "required": False},
            )
        }
    }
