"""What descriptions of endpoints are made of: operations, bodies, parameters, answers and problems."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from gateway.problems import GatewayProblem

Json = dict[str, Any]

PROBLEMS = {
    400: "The body is malformed.",
    401: "An API key is needed, and none came or it is not known.",
    403: "The key may not do this; or the request came from another machine, from a page of another origin, or by a "
    "host name that is not the gateway's.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "It does not fit what stands now: another came between, or it stands on what is gone.",
    413: "The body is too large.",
    415: "The body has another content type, or another content encoding than gzip or deflate.",
    422: "A field is missing or out of range; `errors` points at it.",
    429: "This address, key or page's origin asks too often (`gateway.address_rate`, `key_rate`, `origin_rate`): wait "
    "`Retry-After` seconds.",
    500: "An error that the gateway did not foresee; its log has the details.",
    503: "The log or Redis cannot take it now: retry after `Retry-After` seconds.",
    507: "There is no room for it: delete items (or raise `catalogue.max_items`, `catalogue.max_bytes`), or scenarios.",
}


def operation(summary: str, tag: str, answers: dict[int, Json], **more: Any) -> Json:
    """An operation; every one may also meet an error that nobody foresaw, and all but health a rate that is set."""
    others = problems(500) if tag == "health" and "Prometheus" not in summary else problems(429, 500)
    responses = {str(status): answer for status, answer in (answers | others).items()}
    return {"summary": summary, "tags": [tag], **more, "responses": responses}


def ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def json_of(model: type[BaseModel], example: Any = None, description: str = "Done.") -> Json:
    content: Json = {"schema": ref(model)}
    if example is not None:
        content["example"] = example
    return {"description": description, "content": {"application/json": content}}


def text_of(content_type: str, kind: str = "string") -> Json:
    return {"description": "Done.", "content": {content_type: {"schema": {"type": kind}}}}


def problems(*statuses: int, model: type[BaseModel] = GatewayProblem) -> dict[int, Json]:
    return {status: problem(status, model) for status in statuses}


def problem(status: int, model: type[BaseModel] = GatewayProblem) -> Json:
    """Return the answer of a problem."""
    content = {"application/problem+json": {"schema": ref(model)}}
    answer: Json = {"description": PROBLEMS[status], "content": content}
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return answer


def body_of(content: Json) -> Json:
    return {"required": True, "content": content}


def path_parameter(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}
