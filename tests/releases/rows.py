"""Rows of every kind as the release that runs this writes them, and what it reads in rows: for two releases to compare.

It names only what both releases have, so that it can run with the code of either (`PYTHONPATH`):

    python tests/releases/rows.py write > rows.json
    python tests/releases/rows.py read < rows.json
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from attribution import rows as experiment_unit
from attribution import units as attribution_unit
from attribution.facts import Dims, Page
from campaigns import caps
from contracts import api_keys, bandit_shares, codec, experiment_reports, experiment_rows, items, profiles, users
from contracts.experiments import ExperimentVersion
from contracts.plain_events import decode_event
from contracts.retrain_status import RetrainStatus
from contracts.scenarios import ScenarioVersion
from contracts.sessions import CLICK, Session
from gateway import cursors, scenarios
from registry.version import ModelVersion
from rights import capsule, erasure, erasure_list
from state import audit, exposures, presence
from state.erasures import Job

MS: Final = 1_767_225_600_000
_CLICKS: Final = np.array([(MS, 11, 21, 1), (MS + 500, 12, 22, 2)], CLICK)
_VECTOR: Final = np.array([0.5, -0.25, 0.125, 1.0], np.float32)
_SESSION: Final = Session("s-1", "u-1", MS, MS + 500, 7, 41, _CLICKS, _VECTOR, 0xABC, True)
_RING: Final = capsule.ring_of("nc", b"k" * 32)
_LISTED: Final = cursors.Listed("homepage", "s-1")
_EXPERIMENT: Final = {
    "name": "new",
    "version": 3,
    "published_ms": MS,
    "started_ms": MS - 5,
    "experiment": {
        "scenario": "homepage",
        "variants": [{"name": "control", "share": 0.5}, {"name": "more", "share": 0.5, "patch": {"why": None}}],
        "metric": "clicks/pages",
    },
    "buckets": {"control": f"{2**500 - 1:0250x}", "more": f"{(2**500 - 1) << 500:0250x}"},
}


def _session() -> bytes:
    return codec.encode_session(_SESSION)


def _catalogue_row() -> bytes:
    item = items.item_of({"title": "Boot", "category": "shoes/boots", "price": 99.5, "colour": "red"})
    return codec.encode_row(items.CatalogueRow("i-1", item, 3, MS, 0xABC, _VECTOR.tobytes()))


def _trend() -> bytes:
    near = np.array([5, 6], np.uint64), np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    return codec.encode_trend(codec.ItemTrend(MS, 1.5, 0.5, 9.0, *near, (1.0, 2.0, 3.0, 4.0)))


def _showings() -> bytes:
    counts = np.array([1.0, 2.0], np.float32)
    return codec.encode_showings(codec.ShowingBlock(np.array([5, 6], np.uint64), counts, counts / 4))


def _profile() -> bytes:
    past = np.array([(77, MS)], profiles.PAST_SESSION)
    made = profiles.Profile(_CLICKS, past, _VECTOR[None, :], _VECTOR, MS, 9, 1, "phone", "eu", MS, 0xABC, 4)
    return profiles.encode_profile(made)


def _scenario() -> bytes:
    document = {"kind": "scenario", "boosts": [{"if": "item.price < 50", "multiply": 1.5}]}
    document.pop("kind")
    fields = {"name": "homepage", "version": 2, "published_ms": MS, "by": "k1", "scenario": document}
    return scenarios.encode(ScenarioVersion.model_validate(fields))


def _experiment() -> bytes:
    return experiment_rows.encode(ExperimentVersion.model_validate(_EXPERIMENT))


def _api_key() -> bytes:
    held = api_keys.HeldSecret(sha256="ab" * 32, until_ms=MS)
    fields: dict[str, Any] = {"id": "0" * 15 + "1", "name": "shop", "public": False, "scopes": ["events"]}
    return api_keys.encode_key(api_keys.ApiKey.model_validate({**fields, "created_ms": MS, "secrets": (held,)}))


def _shares() -> bytes:
    return bandit_shares.encode_shares(bandit_shares.BanditShares(MS, MS + 1, ("a", "b"), {"": (0.25, 0.75)}))


def _report() -> bytes:
    short = {"at_ms": MS, "experiment_version": 3, "started_ms": MS - 5, "verdict": "wait", "decision": "go on"}
    return experiment_reports.encode_report(experiment_reports.ShortReport.model_validate(short))


def _process() -> bytes:
    return presence.Process(kind="gateway", pid=1, host="h", started_ms=MS, at_ms=MS, serves={"a": "b"}).encoded()


def _audit() -> bytes:
    return audit.encoded(audit.Entry(MS, "key k1", "PUT /api/scenarios/x", "10.0.0.1", "200"))


def _erasure() -> bytes:
    return msgspec.json.encode(erasure.Erasure("e1", erasure.Subject.USER, "h", MS, removed={"redis:session": 2}))


def _unit() -> bytes:
    page = Page("p", MS, "u-1", Dims("homepage"), b"12345678", (500,), 0.5)
    return attribution_unit.encode_unit(attribution_unit.Unit(pages={"p": page}, users=("u-1",)))


def _row() -> bytes:
    return experiment_unit.encode_row(
        experiment_unit.Row("control", "phone", "eu", MS, 2, 40, 3, money={"EUR": (1, 5)})
    )


def _model_version() -> bytes:
    entry = {"bytes": 3, "sha256": "cd" * 32}
    fields = {"name": "20260101T000000-0123abcd", "made_ms": MS, "files": {"reranker/ranker.ubj": entry}}
    return ModelVersion.model_validate(fields).sealed().model_dump_json().encode()


def _cursor() -> bytes:
    return (cursors.encode_cursor(b"s" * 32, _LISTED, (5, 6)) or "").encode()


def _event() -> bytes:
    fields = {"v": 1, "event_id": "e", "type": "view", "session_id": "s-1", "item_id": "i-1", "ts": MS, "own": 1}
    return orjson.dumps(fields)


Write = Callable[[], bytes]
Read = Callable[[bytes], object]


def _json(raw: bytes) -> object:
    document = orjson.loads(raw)
    document.pop("v", None)
    return document


def _experiment_of(raw: bytes) -> object:
    return experiment_rows.decode(experiment_rows.row_key_of("new"), raw)


def _capsule_of(raw: bytes) -> object:
    return capsule.decode_capsule(_RING, raw.decode(), "s-1", now_ms=MS, idle_gap_ms=10**6)


def _processes_of(raw: bytes) -> object:
    return presence.processes_of({b"gateway:h:1": raw}, MS)


def _is_whole(raw: bytes) -> object:
    found = ModelVersion.model_validate_json(raw)
    return found.name, dict(found.files), found.whole


KINDS: Final[Mapping[str, tuple[Write, Read]]] = {
    "session": (_session, lambda raw: codec.decode_session("s-1", raw)),
    "catalogue_row": (_catalogue_row, codec.decode_row),
    "trend": (_trend, codec.decode_trend),
    "showings": (_showings, codec.decode_showings),
    "ended": (
        lambda: codec.encode_ended(codec.EndedSession(MS, np.array([5, 6], np.uint64), 2)),
        codec.decode_ended,
    ),
    "profile": (_profile, profiles.decode_profile),
    "shown_page": (lambda: exposures.encode_shown(exposures.Shown(MS, (5, 6))), exposures.decode_shown),
    "mailed": (lambda: caps.packed({caps.campaign_key("spring"): MS}), caps.written_in),
    "refusal": (lambda: b"\x01", bool),
    "user": (lambda: users.encode_user({"age": 30, "attributes": {"plan": "x"}}), users.decode_user),
    "scenario": (_scenario, scenarios.decode),
    "experiment": (_experiment, _experiment_of),
    "api_key": (_api_key, api_keys.decode_key),
    "bandit_shares": (_shares, lambda raw: bandit_shares.decode_shares(raw).cells),
    "experiment_report": (_report, experiment_reports.decode_short),
    "retrain_status": (
        lambda: RetrainStatus(every_ms=5, next_ms=MS).model_dump_json().encode(),
        RetrainStatus.model_validate_json,
    ),
    "process": (_process, _processes_of),
    "live": (lambda: b'{"s":2.0,"rows":[["a","b","c",3]]}', _json),
    "erasure": (_erasure, lambda raw: msgspec.json.decode(raw, type=erasure.Erasure)),
    "erasing": (
        lambda: msgspec.json.encode(Job("u-1", ("s-1",), {"clicks:0": 5})),
        lambda raw: msgspec.json.decode(raw, type=Job).ends,
    ),
    "audit_entry": (_audit, lambda raw: audit._entry(b"1-1", raw)),
    "happened": (lambda: b'{"kind":"price","before":2.0,"now":1.0,"at_ms":5,"item":{"item_id":"i-1"}}', _json),
    "call": (lambda: b'{"v":1,"id":"a","type":"price","at_ms":5,"users":["u-1"],"page":1,"pages":1}', _json),
    "attribution_unit": (_unit, attribution_unit.decode_unit),
    "experiment_unit": (_row, experiment_unit.decode_row),
    "event": (_event, lambda raw: decode_event(raw, now_ms=MS)),
    "item_change": (lambda: items.encode_change(items.StockSet(item_id="i-1", stock=3)), items.decode_change),
    "dead_letter": (lambda: b'{"source":"clicks:0:1","reason":"invalid","detail":"x","at":"5","raw":"y"}', _json),
    "events_token": (lambda: b"p3:88121", lambda raw: _position(raw.decode())),
    "cursor": (
        _cursor,
        lambda raw: cursors.decode_cursor(b"s" * 32, _LISTED, raw.decode()),
    ),
    "capsule": (lambda: capsule.encode_capsule(_RING, _SESSION).encode(), _capsule_of),
    "erasure_list": (
        lambda: erasure_list.encode_list(erasure_list.ErasureList("nc", "ab")),
        erasure_list.decode_list,
    ),
    "model_versions": (_model_version, _is_whole),
}
"""By the name of a form: how a row of it is written, and how it is read."""


def _position(token: str) -> object:
    from eventlog.contract import Position

    return Position.parse(token)


def written() -> dict[str, str]:
    """Return a row of each kind, base64."""
    return {name: base64.b64encode(write()).decode() for name, (write, _) in KINDS.items()}


def read(rows: Mapping[str, str]) -> dict[str, str]:
    """Return what is read in rows, as text; of a row that is refused, why."""
    return {name: shown(name, base64.b64decode(raw)) for name, raw in rows.items()}


def shown(name: str, raw: bytes) -> str:
    _, reader = KINDS[name]
    try:
        return _plain(reader(raw))
    except Exception as error:
        return f"REFUSED {type(error).__name__}: {error}"


def _plain(value: object) -> str:
    """Return a value as text that does not tell of fields that only one of two releases has."""
    text = repr(value)
    return text.replace(", v=1)", ")")


if __name__ == "__main__":
    answer = written() if sys.argv[1] == "write" else read(json.load(sys.stdin))
    sys.stdout.write(json.dumps(answer, indent=1))
