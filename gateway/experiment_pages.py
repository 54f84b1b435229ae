"""Experiments over HTTP: publish, read, stop, make a variant the scenario, go back to an older version."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError

from contracts.assignment import NoRoom, allotted, buckets_of, mask_of
from contracts.errors import StateUnavailable
from contracts.experiment_rows import document_name, encode, row_key_of
from contracts.experiments import (
    MAX_EXPERIMENTS,
    Experiment,
    ExperimentVersion,
    Variant,
    experiment_document,
)
from contracts.items import merged
from contracts.scenarios import MAX_BYTES, NAME_PATTERN, Scenario, ScenarioVersion, document_of, placement_of
from gateway import scenarios
from gateway.experiment_bodies import Promotion, Stop
from gateway.experiment_reports import REPORTS
from gateway.experiments import decode
from gateway.keys import CLOCK, EXPERIMENTS, SCENARIOS
from gateway.own_machine import CALLER
from gateway.problems import (
    FieldProblem,
    Refused,
    field_problems,
    not_found,
    out_of_range,
    refused_for_now,
    unavailable,
)
from gateway.rankers import expect_ranker
from gateway.recommendations import published
from gateway.scenario_pages import Rollback, made_ready, readable, store_of, stored, written
from gateway.tables import REPLICAS
from gateway.tables import SCENARIOS as TABLE
from gateway.wire import encoded, json_response, read_object, validated
from rerank.scenarios.compiled import Compiled, ScenarioError
from rerank.scenarios.segment import compile_segment

NEWEST_WAIT_S: Final = 5.0
"""How long a write waits for what others published."""


async def get_experiments(request: web.Request) -> web.Response:
    """List what is published."""
    now_ms, found = request.app[CLOCK](), request.app[EXPERIMENTS].all()
    said = await request.app[REPORTS].decisions(found)
    return json_response({"experiments": [_answer(one, now_ms) | of for one, of in zip(found, said, strict=True)]})


async def get_experiment(request: web.Request) -> web.Response:
    """Show one experiment."""
    found = _found(request)
    drawn = {"shares": request.app[EXPERIMENTS].shares_of(found.name)}
    return json_response(_answer(found, request.app[CLOCK]()) | await request.app[REPORTS].of(found) | drawn)


async def put_experiment(request: web.Request) -> web.Response:
    """Publish a new version. One that was stopped begins anew."""
    name = _name(request)
    document = await read_object(request, named=True, written=True)
    if (size := len(encoded(document))) > MAX_BYTES:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a document of at most {MAX_BYTES:,} bytes, got {size:,}"
        )
    try:
        experiment = Experiment.model_validate(document)
    except ValidationError as error:
        problems = field_problems(error, (), Experiment)
        raise out_of_range(f"{problems[0].pointer or 'body'}: {problems[0].detail}", problems) from error
    return await _publish(request, name, experiment)


async def delete_experiment(request: web.Request) -> web.Response:
    """Take an experiment away; its versions stay."""
    await _expect_newest(request)
    name = _found(request).name
    return await written(request, name, await stored(partial(store_of(request).delete, document_name(name))))


async def get_versions(request: web.Request) -> web.Response:
    """List the versions of an experiment that are kept, newest first."""
    now_ms = request.app[CLOCK]()
    return json_response({"experiments": [_answer(one, now_ms) for one in reversed(await _versions(request))]})


async def post_rollback(request: web.Request) -> web.Response:
    """Publish an older version's document again, as a new version."""
    wanted = validated(await read_object(request, named=True, written=True), Rollback).version
    found = {one.version: one for one in await _versions(request)}
    if wanted not in found:
        raise not_found(f"there is no version {wanted} any more; there are {', '.join(map(str, sorted(found)))[:200]}")
    return await _publish(request, _name(request), found[wanted].experiment)


async def post_stop(request: web.Request) -> web.Response:
    """Assign nobody any more: everybody gets the scenario as it is published."""
    asked = validated(await read_object(request, named=True, written=True), Stop)
    await _expect_newest(request)
    return await _ended(request, _running(request, asked.version), asked, None)


async def post_promote(request: web.Request) -> web.Response:
    """Publish a variant as the scenario's new version, and stop the experiment."""
    asked = validated(await read_object(request, named=True, written=True), Promotion)
    await _expect_newest(request)
    running = _running(request, asked.version)
    variants = {one.name: one for one in running.experiment.variants}
    if asked.variant not in variants:
        raise _wrong("/variant", f"expected a variant, {', '.join(variants)}; got {asked.variant!r}")
    on, published_scenarios = running.experiment.scenario, request.app[SCENARIOS]
    try:
        scenario = _document_of(request, running, variants[asked.variant])
        compiled = published_scenarios.compile(on, 0, scenario)
    except (ScenarioError, ValidationError) as error:
        raise Refused(HTTPStatus.CONFLICT, f"the variant {asked.variant!r} cannot be {on!r}: {error}") from error
    row_of = await made_ready(request, on, scenario, compiled)
    return await _ended(request, running, asked, asked.variant, {on: row_of})


def _document_of(request: web.Request, running: ExperimentVersion, variant: Variant) -> Scenario:
    """Return the document that makes an experiment's scenario what a variant is."""
    on, found = running.experiment.scenario, request.app[SCENARIOS]
    if variant.name in running.pinned:
        return running.pinned[variant.name]
    if variant.scenario is not None and variant.scenario != on:
        other = found.get(variant.scenario)
        return Scenario(base=variant.scenario) if other is None else _over_itself(other, on)
    base = found.get(on)
    document = {} if base is None else document_of(base.scenario)
    return Scenario.model_validate(merged(document, variant.patch or {}))


def _over_itself(other: ScenarioVersion, on: str) -> Scenario:
    """Return another scenario's document as one of the name `on`: one that stands on `on` is put over it no more."""
    document = document_of(other.scenario)
    if document.get("base") == on and placement_of(on) is None:
        raise Refused(
            HTTPStatus.CONFLICT,
            f"{other.name!r} stands on {on!r}, which it is to replace: try a `patch`",
        )
    return Scenario.model_validate(document)


async def _ended(
    request: web.Request,
    running: ExperimentVersion,
    asked: Stop,
    promoted: str | None,
    scenarios: Mapping[str, Callable[[int], bytes]] | None = None,
) -> web.Response:
    """Publish that an experiment ended, and with it what makes rows of `scenarios`: both, or neither."""
    key = _by(request)
    by = key if asked.by is None else asked.by + ("" if key is None else f", key {key}")
    change = {"stopped_ms": request.app[CLOCK](), "why": asked.why, "promoted": promoted, "by": by}

    def row_of(version: int) -> bytes:
        now = {"version": version, "published_ms": change["stopped_ms"]}
        return encode(_following(running, running.model_copy(update={**change, **now})))

    together = {**(scenarios or {}), document_name(running.name): row_of}
    *_, done = await stored(partial(store_of(request).publish_together, together))
    return await written(request, running.name, done)


async def _publish(request: web.Request, name: str, experiment: Experiment) -> web.Response:
    await _expect_newest(request)
    app, now_ms = request.app, request.app[CLOCK]()
    before = app[EXPERIMENTS].get(name)
    if before is None and len(app[EXPERIMENTS]) >= MAX_EXPERIMENTS:
        raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, f"expected at most {MAX_EXPERIMENTS} experiments: delete one")
    before_any = before
    if before is not None and before.stopped_ms is not None:
        before = None
    draft = ExperimentVersion(
        name=name,
        version=1,
        published_ms=now_ms,
        started_ms=now_ms if before is None else before.started_ms,
        by=_by(request),
        experiment=experiment,
        buckets={},
        pinned=await _pinned(request, experiment),
    )
    compiled, problems = await _checked(request, draft, now_ms)
    if problems:
        raise out_of_range(f"{problems[0].pointer or 'body'}: {problems[0].detail}", problems)
    ready = draft.model_copy(update={"buckets": _buckets(request, draft, before, now_ms)})
    done = await stored(
        partial(
            store_of(request).publish,
            document_name(name),
            lambda version: encode(_following(before_any, ready.model_copy(update={"version": version}))),
        )
    )
    return await written(request, name, done, *compiled)


async def _expect_newest(request: web.Request) -> None:
    """Wait until this process knows all that others published: what a variant had, it keeps. Raises Refused (503)."""
    replica = request.app[REPLICAS][TABLE.name]
    try:
        async with asyncio.timeout(NEWEST_WAIT_S):
            newest = await replica.catch_up_now()
    except StateUnavailable as error:
        raise refused_for_now(error) from error
    except TimeoutError:
        newest = False
    if not newest:
        raise unavailable("this process does not know yet what was published: try again")


def _following(known: ExperimentVersion | None, made: ExperimentVersion) -> ExperimentVersion:
    """Return a version that follows the one it was made from. Raises Refused (409) where another came between."""
    if known is not None and made.version != known.version + 1:
        raise Refused(
            HTTPStatus.CONFLICT,
            f"version {made.version - 1} of {made.name!r} was published meanwhile, this one was made from "
            f"{known.version}: look at it and try again",
        )
    return made


async def _checked(
    request: web.Request, draft: ExperimentVersion, now_ms: int
) -> tuple[list[Compiled], list[FieldProblem]]:
    """Return the variants, compiled, and all that is wrong with an experiment beside its schema."""
    experiment, compiled, problems = (
        draft.experiment,
        list[Compiled](),
        list(_of_time_and_layer(request, draft, now_ms)),
    )
    problems += [FieldProblem(pointer=where, detail=detail) for where, detail in experiment.wrong_metrics()]
    if experiment.segment is not None:
        try:
            compile_segment(experiment.segment)
        except ScenarioError as error:
            problems.append(FieldProblem(pointer=error.pointer, detail=error.detail))
    try:
        published(request.app, experiment.scenario)
    except Refused as error:
        return compiled, [FieldProblem(pointer="/scenario", detail=error.detail), *problems]
    for at, variant in enumerate(experiment.variants):
        where = f"/variants/{at}/{'scenario' if variant.patch is None else 'patch'}"
        try:
            find = partial(published, request.app)
            one = request.app[EXPERIMENTS].compiled(draft, variant, find)
            await expect_ranker(request.app, one)
            compiled.append(one)
        except ScenarioError as error:
            if isinstance(error.__cause__, ValidationError):  # the patched document is no scenario: each field of it
                problems += field_problems(error.__cause__, ("variants", at, "patch"), Scenario)
            else:
                problems.append(FieldProblem(pointer=where + error.pointer, detail=error.detail))
        except Refused as error:
            problems.append(FieldProblem(pointer=where, detail=error.detail))
    return compiled, problems


def _of_time_and_layer(request: web.Request, draft: ExperimentVersion, now_ms: int) -> Iterator[FieldProblem]:
    experiment = draft.experiment
    if draft.ends_ms <= now_ms:
        yield FieldProblem(pointer="/end", detail=f"expected a time to come, got {experiment.end}")
    for other in request.app[EXPERIMENTS].all():
        if other.name == draft.name or other.stopped_ms is not None or other.ends_ms <= now_ms:
            continue
        if other.experiment.scenario == experiment.scenario and other.experiment.in_layer != experiment.in_layer:
            layer = other.experiment.layer
            theirs = "no `layer`, as" if layer is None else f"the layer {layer!r} of"
            yield FieldProblem(
                pointer="/layer",
                detail=f"expected {theirs} {other.name!r}, which runs on {experiment.scenario!r} too, "
                f"got {experiment.layer!r}: a request can be part of one experiment only",
            )
            return


def _buckets(
    request: web.Request, draft: ExperimentVersion, before: ExperimentVersion | None, now_ms: int
) -> dict[str, str]:
    """Return the buckets of each variant. Raises Refused (422) where others of the layer leave too few."""
    experiment, taken = draft.experiment, set[int]()
    for other in request.app[EXPERIMENTS].all():
        mine = other.name == draft.name or other.experiment.in_layer != experiment.in_layer
        if not mine and other.stopped_ms is None and other.ends_ms > now_ms:
            taken.update(*map(buckets_of, other.buckets.values()))
    had: dict[str, frozenset[int]] = {}
    if before is not None and before.experiment.in_layer == experiment.in_layer:
        had = {name: buckets_of(mask) for name, mask in before.buckets.items()}
    wanted = {variant.name: variant.buckets for variant in experiment.variants}
    try:
        found = allotted(draft.name, wanted, had, taken)
    except NoRoom as error:
        raise _wrong(f"/variants/{error.variant}/share", str(error)) from error
    return {name: mask_of(buckets) for name, buckets in found.items()}


async def _pinned(request: web.Request, experiment: Experiment) -> dict[str, Scenario]:
    """Return the documents of variants that name a version. Raises Refused (422)."""
    found: dict[str, Scenario] = {}
    for at, variant in enumerate(experiment.variants):
        if variant.version is None:
            continue
        name = variant.scenario or experiment.scenario
        rows = await stored(partial(store_of(request).versions, name))
        known = readable(rows, scenarios.decode, f"a version of the scenario {name}")
        version = next((one for one in known if one.version == variant.version), None)
        if version is None:
            raise _wrong(f"/variants/{at}/version", f"there is no version {variant.version} of {name!r} any more")
        found[variant.name] = version.scenario
    return found


async def _versions(request: web.Request) -> list[ExperimentVersion]:
    name = _name(request)
    rows = await stored(partial(store_of(request).versions, document_name(name)))
    if not rows:
        raise not_found(f"no experiment was ever published as {name!r}")
    return readable(rows, partial(decode, row_key_of(name)), f"a version of the experiment {name}")


def _found(request: web.Request) -> ExperimentVersion:
    name = _name(request)
    found = request.app[EXPERIMENTS].get(name)
    if found is None:
        raise not_found(f"there is no experiment {name!r}")
    return found


def _running(request: web.Request, version: int | None) -> ExperimentVersion:
    """Return an experiment that can still be decided, of this version where one is named. Raises Refused (404, 409)."""
    found = _found(request)
    if found.stopped_ms is not None:
        what = "was stopped" if found.promoted is None else f"ended with {found.promoted!r} as the scenario"
        raise Refused(HTTPStatus.CONFLICT, f"the experiment {found.name!r} {what} already: put it again to begin anew")
    if version is not None and found.version != version:
        raise Refused(
            HTTPStatus.CONFLICT, f"expected version {version} of {found.name!r}, got {found.version}: look again"
        )
    return found


def _name(request: web.Request) -> str:
    """Return the name in the path. Raises Refused (422)."""
    name = request.match_info["experiment"]
    if not re.fullmatch(NAME_PATTERN, name):
        raise out_of_range(f"expected a name of a to z, 0 to 9, _ and -, 64 characters at most, got {name[:100]!r}")
    return name


def _by(request: web.Request) -> str | None:
    caller = request.get(CALLER)
    return None if caller is None else caller.key_id


def _wrong(pointer: str, detail: str) -> Refused:
    return out_of_range(f"{pointer}: {detail}", [FieldProblem(pointer=pointer, detail=detail)])


def _answer(version: ExperimentVersion, now_ms: int) -> dict[str, Any]:
    fields = version.model_dump(mode="json", exclude={"experiment", "buckets", "pinned"})
    return {**fields, "state": _state(version, now_ms), "experiment": experiment_document(version.experiment)}


def _state(version: ExperimentVersion, now_ms: int) -> str:
    if version.stopped_ms is not None:
        return "stopped"
    if version.runs_at(now_ms):
        return "running"
    return "planned" if now_ms < version.begins_ms else "ended"
