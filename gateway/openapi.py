"""GET /openapi.json: the OpenAPI document, generated from the models that requests are validated with.

OpenAPI 3.0.3, the version that every viewer and generator reads. pydantic writes JSON Schema 2020-12, so the few
words that 3.0 says otherwise (`null`, `const`, a `$ref` with neighbours) are rewritten here.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.openapi_campaigns import MODELS as CAMPAIGN_MODELS
from gateway.openapi_campaigns import campaign_paths
from gateway.openapi_collect import MODELS as COLLECT_MODELS
from gateway.openapi_collect import collect_paths
from gateway.openapi_experiments import MODELS as EXPERIMENT_MODELS
from gateway.openapi_experiments import experiment_paths
from gateway.openapi_insight import MODELS as INSIGHT_MODELS
from gateway.openapi_insight import insight_paths
from gateway.openapi_kpi import MODELS as KPI_MODELS
from gateway.openapi_kpi import kpi_paths
from gateway.openapi_ofrep import MODELS as OFREP_MODELS
from gateway.openapi_ofrep import ofrep_paths
from gateway.openapi_operations import MODELS as OPERATIONS_MODELS
from gateway.openapi_operations import operations_paths
from gateway.openapi_parts import problem
from gateway.openapi_paths import MODELS, paths
from gateway.openapi_quality import MODELS as QUALITY_MODELS
from gateway.openapi_quality import quality_paths
from gateway.openapi_scenarios import MODELS as SCENARIO_MODELS
from gateway.openapi_scenarios import scenario_paths
from gateway.openapi_security import SCHEMES, secure
from gateway.openapi_users import MODELS as USER_MODELS
from gateway.openapi_users import user_paths
from gateway.wire import json_bytes

REF = "#/components/schemas/{model}"

ABOUT = """A click changes the next recommendation. Send events, ask for recommendations, keep the catalogue.

An event answered 202 is durably in the log. Hand its `token` to the next recommendation request as `after` and the
answer counts it. Errors are problem details (RFC 9457), `application/problem+json`."""


_MODELS: tuple[type[BaseModel], ...] = (
    *(MODELS + SCENARIO_MODELS + EXPERIMENT_MODELS + OFREP_MODELS + USER_MODELS),
    *(COLLECT_MODELS + KPI_MODELS + QUALITY_MODELS + INSIGHT_MODELS + OPERATIONS_MODELS + CAMPAIGN_MODELS),
)


def document(*, asks_keys: bool = False) -> dict[str, Any]:
    """Build the document of a gateway that asks for keys, or of one that does not."""
    return {
        "openapi": "3.0.3",
        "info": {"title": "Nextclick gateway", "version": "1", "description": ABOUT},
        "paths": secure(_paths(), problem, asks_keys=asks_keys),
        "components": {
            "schemas": schemas(_MODELS),
            "securitySchemes": SCHEMES,
        },
    }


def _paths() -> dict[str, Any]:
    shop = paths() | collect_paths() | scenario_paths() | experiment_paths() | ofrep_paths() | user_paths()
    return shop | kpi_paths() | quality_paths() | insight_paths() | operations_paths() | campaign_paths()


def schemas(models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    """Return the schemas of the models and of all they refer to, in OpenAPI 3.0's words."""
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    rewritten: dict[str, Any] = {name: as_3_0(schema) for name, schema in found["$defs"].items()}
    return rewritten


def as_3_0(schema: Any) -> Any:
    """Rewrite a JSON Schema (2020-12) in the words of OpenAPI 3.0."""
    if isinstance(schema, list):
        return [as_3_0(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    rewritten = {name: value if name in ("default", "example") else as_3_0(value) for name, value in schema.items()}
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in rewritten:
            rewritten |= {bound: rewritten[exclusive], exclusive: True}
    if "const" in rewritten:
        rewritten["enum"] = [rewritten.pop("const")]
    if "$ref" in rewritten and len(rewritten) > 1:
        rewritten["allOf"] = [{"$ref": rewritten.pop("$ref")}]
    return _nullable(rewritten)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """`X or null` is `nullable` there; a default of null goes without saying."""
    choices = schema.get("anyOf")
    if not choices or {"type": "null"} not in choices:
        return schema
    rest = [choice for choice in choices if choice != {"type": "null"}]
    outer = {name: value for name, value in schema.items() if name != "anyOf"}
    if outer.get("default", ...) is None:
        del outer["default"]
    if len(rest) > 1:
        return {**outer, "anyOf": rest, "nullable": True}
    inner = {"allOf": rest} if "$ref" in rest[0] else rest[0]
    return {**inner, **outer, "nullable": True}


ASKS_KEYS = web.AppKey("asks_keys", bool)


async def get_openapi(request: web.Request) -> web.Response:
    """Show the document."""
    return json_bytes(await asyncio.to_thread(encoded, asks_keys=request.app[ASKS_KEYS]))


@cache  # made for who asks first, beside the event loop: it takes longer than all else that a gateway is built of
def encoded(*, asks_keys: bool = False) -> bytes:
    return orjson.dumps(document(asks_keys=asks_keys), option=orjson.OPT_INDENT_2)
