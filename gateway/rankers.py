"""The re-rankers that scenarios name: can this process rank with one?"""

from __future__ import annotations

import asyncio

from aiohttp import web

from contracts.errors import ArtifactError
from gateway.keys import MODELS, RANKERS
from rerank.scenarios.compiled import Compiled, ScenarioError


async def expect_ranker(app: web.Application, compiled: Compiled) -> None:
    """Raise ScenarioError for a scenario whose re-ranker cannot be loaded, or is of another session model. What can be
    is loaded then: no request waits for it.
    """
    name = compiled.scenario.ranker
    if name is None:
        return
    try:
        found = await asyncio.to_thread(app[RANKERS].load, name)
    except ArtifactError as error:
        raise ScenarioError("/ranker", str(error)) from error
    encoder = app[MODELS]().encoder
    serves = 0 if encoder is None else encoder.version
    if found.model_version != serves:
        raise ScenarioError(
            "/ranker",
            f"expected a re-ranker that was trained with the session model that serves, {serves:016x}, "
            f"got one of {found.model_version:016x}",
        )
