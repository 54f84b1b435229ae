"""How to talk to any HTTP recommender: a file that describes one request for events and one for recommendations.

    [events]                                  [recommendations]
    method = "POST"                           method = "GET"
    path = "/track"                           path = "/for/{session_id}?n={limit}"
    body = { who = "{session_id}", at = "{ts}" }   items = "/items/*/id"

A placeholder that is a whole JSON string becomes the value itself (`"{ts}"` a number, one that is missing null); inside
a longer string it becomes text. In paths and headers values are percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.errors import SettingsError
from contracts.toml import toml_of

Values = Mapping[str, Any]

EVENT_NAMES = ("event", "events", "session_id", "user_id", "event_id", "item_id", "type", "ts", "value")
QUESTION_NAMES = ("session_id", "user_id", "item_id", "ts", "limit", "placement", "after")
_JSON_PLACE = re.compile(rb'"\{(\w+)\}"|\{(\w+)\}')
_TEXT_PLACE = re.compile(rb"()\{(\w+)\}")
_FORM = "application/x-www-form-urlencoded"

Part = bytes | tuple[str, bool]
"""Fixed bytes, or a placeholder: its name, and whether it is a whole JSON value."""


class EventsTemplate(BaseModel):
    """How events are sent. `accept` are the statuses that take them; `token` points at a token in the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str = Field(default="POST", pattern=r"^[A-Z]+$")
    path: str = Field(pattern=r"^/")
    headers: dict[str, str] = {"Content-Type": "application/json"}
    body: Any = None
    accept: tuple[int, ...] = (200, 201, 202, 204)
    token: str | None = Field(default=None, pattern=r"^(/.*)?$")


class QuestionTemplate(BaseModel):
    """How recommendations are asked for. `items` points at the item ids in the answer, best first, `dropped` at an
    object of how many candidates each rule dropped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str = Field(default="POST", pattern=r"^[A-Z]+$")
    path: str = Field(pattern=r"^/")
    headers: dict[str, str] = {"Content-Type": "application/json"}
    body: Any = None
    items: str = Field(pattern=r"^(/.*)?$")
    degraded: str | None = Field(default=None, pattern=r"^(/.*)?$")
    model: str | None = Field(default=None, pattern=r"^(/.*)?$")
    dropped: str | None = Field(default=None, pattern=r"^(/.*)?$")


class TargetTemplate(BaseModel):
    """A target. Without `events` none are sent, for a recommender that keeps no state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    events: EventsTemplate | None = None
    recommendations: QuestionTemplate | None = None

    @property
    def takes_batches(self) -> bool:
        """Whether several events may share a request."""
        return self.events is None or "{events}" in orjson.dumps(self.events.body).decode()

    def expect(self, *, questions: bool) -> None:
        """Raise SettingsError when questions are to be asked and nothing says how."""
        if questions and self.recommendations is None:
            raise SettingsError("the target's template has no [recommendations]: add it, or leave --recommend out")


GATEWAY_TEMPLATE = TargetTemplate(
    events=EventsTemplate(path="/api/events", body="{events}", accept=(202,), token="/token"),
    recommendations=QuestionTemplate(
        path="/api/recommendations/{placement}",
        body={"session_id": "{session_id}", "limit": "{limit}", "after": "{after}"},
        items="/recommendations/*/product_id",
        degraded="/degraded",
        model="/model_version",
        dropped="/dropped",
    ),
)


def read_template(path: Path) -> TargetTemplate:
    """Read a .toml or .json file. Raises SettingsError that names the file and what is wrong in it."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
        document = toml_of(text) if path.suffix == ".toml" else orjson.loads(text)
        template = TargetTemplate.model_validate(document)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SettingsError(f"{path}: {wrong}") from error
    except ValueError as error:
        raise SettingsError(f"{path}: expected TOML or JSON, got something else ({error})") from error
    if template.events is None and template.recommendations is None:
        raise SettingsError(f"{path}: expected [events], [recommendations] or both, got neither")
    try:
        for part, names in ((template.events, EVENT_NAMES), (template.recommendations, QUESTION_NAMES)):
            if part is not None:
                Request.of(part, names)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    return template


@dataclass(frozen=True, slots=True)
class Request:
    """A compiled template: parts of the path, the headers and the body."""

    method: str
    path: tuple[Part, ...]
    headers: tuple[tuple[str, tuple[Part, ...]], ...]
    body: tuple[Part, ...]
    as_text: Callable[[Any], bytes]

    @classmethod
    def of(cls, template: EventsTemplate | QuestionTemplate, names: tuple[str, ...]) -> Request:
        """Compile. Raises SettingsError for a placeholder that is not among `names`."""
        kind = next((value for name, value in template.headers.items() if name.lower() == "content-type"), "")
        form = kind.startswith(_FORM)
        body = template.body
        try:
            raw = b"" if body is None else body.encode() if form or _is_text(body) else orjson.dumps(body)
        except (orjson.JSONEncodeError, AttributeError) as error:
            raise SettingsError(f"body: expected JSON, or a text for a form, that can be sent ({error})") from error
        return cls(
            template.method,
            _parts(template.path.encode(), _TEXT_PLACE, names),
            tuple((name, _parts(value.encode(), _TEXT_PLACE, names)) for name, value in template.headers.items()),
            _parts(raw, _TEXT_PLACE if form else _JSON_PLACE, names),
            _quoted if form else _inside_json,
        )

    @property
    def has_fixed_head(self) -> bool:
        return not any(isinstance(part, tuple) for parts in (self.path, *dict(self.headers).values()) for part in parts)

    def path_of(self, values: Values) -> str:
        return _filled(self.path, values, _quoted).decode()

    def headers_of(self, values: Values) -> dict[str, str]:
        return {name: _filled(parts, values, _quoted).decode() for name, parts in self.headers}

    def body_of(self, values: Values) -> bytes:
        return _filled(self.body, values, self.as_text)


def pointed(document: Any, pointer: str) -> list[Any]:
    """Return what a JSON pointer (RFC 6901) leads to; `*` goes through all elements of an array. Empty when nothing."""
    found = [document]
    for token in pointer.split("/")[1:]:
        name, deeper = token.replace("~1", "/").replace("~0", "~"), list[Any]()
        for one in found:
            if isinstance(one, list):
                if name == "*":
                    deeper += one
                elif name.isdigit() and int(name) < len(one):
                    deeper.append(one[int(name)])
            elif isinstance(one, dict) and name in one:
                deeper.append(one[name])
        found = deeper
    return found


def _is_text(body: Any) -> bool:
    """Whether a body is written out rather than given as a value; `{events}` alone stands for the value."""
    return isinstance(body, str) and re.fullmatch(r"\{\w+\}", body) is None


def _parts(raw: bytes, place: re.Pattern[bytes], names: tuple[str, ...]) -> tuple[Part, ...]:
    parts: list[Part] = []
    at = 0
    for match in place.finditer(raw):
        name = (match[1] or match[2]).decode()
        if name not in names:
            raise SettingsError(f"expected one of the placeholders {', '.join(names)}, got {{{name}}}")
        parts += [raw[at : match.start()], (name, bool(match[1]))]
        at = match.end()
    return tuple(part for part in (*parts, raw[at:]) if part != b"")


def _filled(parts: tuple[Part, ...], values: Values, as_text: Callable[[Any], bytes]) -> bytes:
    return b"".join(
        part if isinstance(part, bytes) else (orjson.dumps if part[1] else as_text)(values.get(part[0]))
        for part in parts
    )


def _quoted(value: Any) -> bytes:
    return quote(_text(value), safe="").encode()


def _inside_json(value: Any) -> bytes:
    return orjson.dumps(_text(value))[1:-1]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
