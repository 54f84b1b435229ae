"""The short way of a recommendation request to its handler: past aiohttp's routes and middlewares, that cost as much as
head and body of the answer. It is timed, counted and refused as by the long way, which everything else takes: what a
page sends too, whose origin is looked at there, and which wants to be told that it may read the answer.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from time import perf_counter

from aiohttp import hdrs, web

from contracts.api_keys import Scope
from contracts.scenarios import NAME_PATTERN
from gateway.door import DOOR
from gateway.draining import DRAINING
from gateway.encoded import EncodedJson
from gateway.keys import SETTINGS
from gateway.metrics import METRICS
from gateway.named import ENDPOINT, TRACER, named, names_requests
from gateway.problems import problem_of
from gateway.rates import RATES, take_address, take_key
from gateway.recommendations import answer_at

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_PATH = "/api/recommendations/"
_is_name = re.compile(NAME_PATTERN).match


def install(server: web.Server, app: web.Application) -> None:
    """Have a server answer by the short way what can go by it: not where other origins may call. Where logs or traces
    want it, each request gets a name first.
    """
    if not app[SETTINGS].gateway.cors_origins:
        server.request_handler = _short_way(app, server.request_handler)
    if names_requests(app[SETTINGS]):
        server.request_handler = named(server.request_handler, app[TRACER])


def _short_way(app: web.Application, long_way: Handler) -> Handler:
    metrics, draining, door, rates = app[METRICS], app[DRAINING], app[DOOR], app[RATES]
    limited = rates.address is not None

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        name, headers = request.raw_path.removeprefix(_PATH), request.headers
        if not _is_name(name) or request.method != hdrs.METH_POST or hdrs.EXPECT in headers:
            return await long_way(request)
        if hdrs.ORIGIN in headers:
            return await long_way(request)
        assert isinstance(request, web.Request)
        began = perf_counter()
        response: web.StreamResponse
        try:
            if limited:
                await take_address(request, rates)
            caller = door.expect_short(headers, Scope.RECOMMEND)
            if caller is not None and rates.key is not None:
                await take_key(caller.key_id, rates)
            response = EncodedJson(await answer_at(name, request, app))
        except Exception as error:
            response = problem_of(error, request)
        if draining.closing:
            response.force_close()
        metrics.answered(ENDPOINT, response.status, perf_counter() - began)
        return response

    return answer
