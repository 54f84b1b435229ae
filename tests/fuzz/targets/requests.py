"""Bodies of recommendation requests: the quick decoder says yes only where the schema does, and both say the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson

from contracts.api import RecommendationRequest
from contracts.plain_requests import plain, plain_request
from contracts.sessions import CLICK as WINDOW
from contracts.sessions import Session
from contracts.settings import EventSettings, LogSettings, RedisSettings
from gateway.capsules import CAPSULES, Capsules
from gateway.door import DOOR
from gateway.keys import CLOCK, SECRET, SETTINGS
from gateway.problems import Refused, problem_response
from gateway.recommendations import question_of
from gateway.secret import Secret
from gateway.settings import CapsuleOptions
from rights.capsule import encode_capsule, ring_of
from tests.fuzz.target import Target, dumped

NOW = 1_700_000_000_000
APP: Any = {
    SETTINGS: SimpleNamespace(log=LogSettings(), events=EventSettings()),
    CLOCK: lambda: NOW,
    SECRET: Secret(RedisSettings()),
    DOOR: SimpleNamespace(asks_keys=True),
    CAPSULES: Capsules(CapsuleOptions(key="k" * 32), Secret(RedisSettings()), "nc", 1_800_000),
}
PLAIN = {"session_id": "s", "user_id": "u", "item_id": "i", "limit": 5, "exclude": ["x"], "after": "p3:88121"}
SESSION = Session("s", None, NOW, NOW, 1, -1, np.array([(NOW, 1, 2, 1)], WINDOW), np.empty(0, np.float32), 0)
CLICK = {"v": 1, "event_id": "e1", "type": "view", "session_id": "s", "item_id": "i", "ts": NOW}
FULL = {
    **PLAIN,
    "filter": "price < 5 and stock > 0",
    "fields": ["title"],
    "candidates": ["a"],
    "explain": True,
    "consent": False,
    "capsule": encode_capsule(ring_of("nc", b"k" * 32), SESSION),
    "context": {"region": "eu", "age": 3},
    "recent_events": [CLICK],
}


def check(raw: bytes) -> None:
    asked = plain_request(raw)
    if asked is not None:
        assert plain(RecommendationRequest.model_validate(orjson.loads(raw))) == asked
    try:
        question = question_of("homepage", raw, APP)
    except Refused as refused:
        problem_response(refused, instance="/")
        raise
    assert 1 <= question.asked.limit <= 100


TARGET = Target(
    check,
    {"plain": dumped(PLAIN), "full": dumped(FULL), "least": b'{"session_id":"s"}'},
    code=(
        *("contracts.plain_requests", "contracts.api", "gateway.recommendations", "gateway.wire", "gateway.problems"),
        "rights.capsule",
    ),
    refusals=(Refused,),
    words=tuple(b'"%s":' % name.encode() for name in RecommendationRequest.model_fields),
)
