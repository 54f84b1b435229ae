"""/api/models: the versions of the registry that this gateway serves from, and which of them serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar

from aiohttp import web

from contracts.errors import ArtifactError, OutputRefused, SettingsError, StateUnavailable
from contracts.shadow_means import means
from gateway.keys import CLOCK, SETTINGS, SHADOW_SUMS
from gateway.model_bodies import ModelChange, ModelDecision, ModelFacts, ModelPin, ModelsAnswer, ShadowFacts
from gateway.one_at_a_time import alone
from gateway.own_machine import CALLER
from gateway.problems import Refused, not_found
from gateway.wire import json_response, read_object, validated
from registry.folder import SERVING, Registry, Served
from registry.version import NAME
from state.shadow_sums import ShadowSums

MOST_VERSIONS: Final = 200
MOST_CHANGES: Final = 100
HOW: Final = (
    "this gateway serves from no registry of models: `nextclick models add ARTIFACTS --folder registry --publish` "
    "makes one, and NEXTCLICK_ARTIFACTS=registry/serving serves from it"
)
CHANGING = web.AppKey("changing which version serves", asyncio.Semaphore)
"""Held by whoever reads or changes the registry: one request at a time, as whole versions are read."""

T = TypeVar("T")


def registry_of(artifacts: str) -> Registry:
    """Return the registry whose link the artifacts are. Raises Refused (404) where they are none's."""
    folder = Path(artifacts or ".")
    if folder.name != SERVING or not (registry := Registry(folder.parent)).names():
        raise not_found(HOW)
    return registry


async def get_models(request: web.Request) -> web.Response:
    """List the versions."""
    return await _answered(request)


async def post_publish(request: web.Request) -> web.Response:
    """Let a version serve, once every file of it was read and compared."""
    name = request.match_info["version"]
    if not NAME.fullmatch(name):
        raise not_found(f"expected the name of a version, such as 20261129T045300-1f3a9c2e, got {name[:60]!r}")
    asked, said = validated(await read_object(request), ModelDecision), _said(request)

    def publish(registry: Registry) -> Served:
        if name not in registry.names():
            raise not_found(f"there is no version {name}: GET /api/models lists what there is")
        _expect_serving(registry, asked.serving)
        return registry.publish(name, why=asked.why, **said)

    return _told(await _doing(request, publish))


async def post_rollback(request: web.Request) -> web.Response:
    """Let the version serve that served before."""
    asked, said = validated(await read_object(request), ModelDecision), _said(request)

    def rollback(registry: Registry) -> Served:
        _expect_serving(registry, asked.serving)
        return registry.rollback(why=asked.why, **said)

    return _told(await _doing(request, rollback))


async def post_pin(request: web.Request) -> web.Response:
    """Let nothing replace a version, or let it again."""
    asked, said = validated(await read_object(request), ModelPin), _said(request)

    def pin(registry: Registry) -> Served | None:
        if asked.name is not None and asked.name not in registry.names():
            raise not_found(f"there is no version {asked.name}: GET /api/models lists what there is")
        return registry.pin(asked.name, why=asked.why, **said)

    await _doing(request, pin)
    return await _answered(request)


async def _answered(request: web.Request) -> web.Response:
    """Answer with all versions, and what was found of the candidate in the shadow."""
    found, sums = await _doing(request, _listed), request.app[SHADOW_SUMS]
    if found.shadow is not None:
        found.shadow = await asyncio.to_thread(_with_figures, found.shadow, sums)
    return json_response(found.model_dump(mode="json"))


def _with_figures(shadow: ShadowFacts, sums: ShadowSums) -> ShadowFacts:
    try:
        figures = means(sums.read(shadow.name))
    except StateUnavailable:
        return shadow
    return shadow.model_copy(update={**figures, "answers": round(figures["answers"] or 0)})


async def _doing(request: web.Request, act: Callable[[Registry], T]) -> T:
    """Do something with the registry, in a thread. Raises Refused: 404 no registry, 409 not as things stand, 503."""
    app = request.app
    async with alone(app[CHANGING], "reads or changes the models"):
        try:
            return await asyncio.to_thread(lambda: act(registry_of(app[SETTINGS].artifacts)))
        except (ArtifactError, SettingsError, OutputRefused) as error:
            raise Refused(HTTPStatus.CONFLICT, str(error)) from error
        except OSError as error:
            why = f"the registry cannot be changed or read ({error.strerror}): see who owns its folder"
            raise Refused(HTTPStatus.CONFLICT, why) from error


def _listed(registry: Registry) -> ModelsAnswer:
    serving, previous, pinned = registry.serving(), registry.previous(), registry.pinned()
    shadow, names = registry.shadow(), registry.names()[::-1]
    marked = {"serving": serving, "previous": previous, "pinned": pinned, "shadow": shadow.name if shadow else None}
    return ModelsAnswer(
        serving=serving,
        previous=previous,
        pinned=pinned,
        shadow=ShadowFacts(**shadow.model_dump()) if shadow else None,
        versions=[
            _facts(registry, name).model_copy(update={mark: name == marked[mark] for mark in marked})
            for name in names[:MOST_VERSIONS]
        ],
        more=max(0, len(names) - MOST_VERSIONS),
        history=[ModelChange(**one.model_dump()) for one in registry.history()[: -MOST_CHANGES - 1 : -1]],
    )


def _facts(registry: Registry, name: str) -> ModelFacts:
    try:
        found = registry.read(name)
    except ArtifactError:
        return ModelFacts(name=name, damaged="its manifest cannot be read: `nextclick models verify` says why")
    said = found.model_dump(include=set(ModelFacts.model_fields) - {"bytes"})
    return ModelFacts(**said, bytes=found.bytes)


def _expect_serving(registry: Registry, seen: str | None) -> None:
    if seen is not None and registry.serving() != seen:
        raise Refused(HTTPStatus.CONFLICT, f"expected {seen} to serve, got {registry.serving()}: look again first")


def _said(request: web.Request) -> dict[str, Any]:
    caller = request.get(CALLER)
    return {"now_ms": request.app[CLOCK](), "by": "console" if caller is None else caller.key_id}


def _told(served: Served) -> web.Response:
    return json_response(ModelChange(**served.model_dump()).model_dump())
