"""Counts and times every request by endpoint: the outermost middleware."""

from __future__ import annotations

from time import perf_counter

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.draining import DRAINING
from gateway.metrics import METRICS


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Time the request, whatever comes of it. Unknown paths count together, so that they cannot fill memory."""
    began = perf_counter()
    response = await handler(request)
    if request.app[DRAINING].closing:
        response.force_close()
    resource = request.match_info.route.resource
    endpoint = f"{request.method} {resource.canonical}" if resource is not None else "other"
    request.app[METRICS].answered(endpoint, response.status, perf_counter() - began)
    return response
