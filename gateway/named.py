"""Requests that have a name while they are answered: the id that every line of their log has, and their trace.

Only where logs are JSON or requests are traced: otherwise nothing of this is called.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Final

from aiohttp import web

from contracts.logs import REQUEST_ID
from contracts.tracing import Tracer
from gateway.settings import GatewaySettings

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

TRACER: web.AppKey[Tracer | None] = web.AppKey("tracer")
"""None where nothing is traced."""
ENDPOINT: Final = "POST /api/recommendations/{scenario}"
"""What a recommendation request by the short way (`gateway.front`) is counted under."""


def names_requests(settings: GatewaySettings) -> bool:
    """Tell whether somebody wants to know which request a line, or a span, is of."""
    return settings.logs.format == "json" or bool(settings.tracing.endpoint)


def named(handler: Handler, tracer: Tracer | None) -> Handler:
    """Return the handler for requests that have a name. `request_id` in a recommendation's answer is that name."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        name = os.urandom(16).hex()
        token = REQUEST_ID.set(name)
        try:
            with nullcontext() if tracer is None else tracer.request(request.method, request.headers) as span:
                response = await handler(request)
                if tracer is not None and span is not None:
                    tracer.answered(span, _route_of(request), response.status, name)
            return response
        finally:
            REQUEST_ID.reset(token)

    return answer


def _route_of(request: web.BaseRequest) -> str:
    """Return method and path of a request as the API names it: no id of a visitor in it."""
    assert isinstance(request, web.Request)
    try:
        resource = request.match_info.route.resource
    except AssertionError:  # aiohttp's: the short way asks for no route
        return ENDPOINT
    return f"{request.method} {resource.canonical}" if resource is not None else f"{request.method} other"
