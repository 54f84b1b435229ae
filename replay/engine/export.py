"""A schedule for other load tools: vegeta (JSON targets, one a line) and k6 (a script and its data file).

Both send at a rate of their own and one event a request; neither keeps the order within a session.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from contracts.outputs import lines_kind, text_kind, write_output, written_aside
from replay.engine.schedule import Planned
from replay.engine.template import EVENT_NAMES, Request, TargetTemplate

TARGETS = lines_kind("targets for vegeta", lambda first: first.keys() == {"method", "url", "header", "body"})
REQUESTS = lines_kind("requests for k6", lambda first: first.keys() == {"method", "url", "headers", "body", "due"})
SCRIPT = text_kind("a script for k6", "// k6 run ", 'new SharedArray("requests"')
_K6_SCRIPT = """\
// k6 run %(script)s: plays %(count)d requests in their order, each once, at an even rate.
// k6 run -e RATE=1000 %(script)s: at another one.
import http from "k6/http";
import exec from "k6/execution";
import { check } from "k6";
import { SharedArray } from "k6/data";

const requests = new SharedArray("requests", () => open("./%(data)s").trim().split("\\n").map(JSON.parse));
const rate = Number(__ENV.RATE || %(rate)s);

export const options = {
  scenarios: {
    replay: {
      executor: "constant-arrival-rate",
      rate: Math.max(1, Math.round(1000 * rate)),
      timeUnit: "1000s", // rates are whole numbers here
      duration: `${Math.ceil((1000 * (requests.length + 1)) / rate)}ms`,
      preAllocatedVUs: 64,
      maxVUs: 1024,
    },
  },
};

export default function () {
  const request = requests[exec.scenario.iterationInTest];
  if (request === undefined) return; // all are sent
  const answer = http.request(request.method, request.url, request.body, { headers: request.headers });
  check(answer, { accepted: (one) => one.status < 400 });
}
"""


def rendered(plan: Iterable[Planned], template: TargetTemplate, url: str) -> Iterator[dict[str, Any]]:
    """Yield the request of every event: method, url, headers, body (bytes) and due (seconds after the start).

    Raises ValueError for a template without [events].
    """
    if template.events is None:
        raise ValueError("expected a template with [events], got one without: nothing to export")
    request = Request.of(template.events, EVENT_NAMES)
    for planned in plan:
        values = {**planned.fields, "event": planned.fields, "events": [planned.fields]}
        yield {
            "method": request.method,
            "url": url.rstrip("/") + request.path_of(values),
            "headers": request.headers_of(values),
            "body": request.body_of(values),
            "due": planned.offset_s,
        }


def export_vegeta(requests: Iterable[dict[str, Any]], out: Path) -> int:
    """Write targets for `vegeta attack -format=json -lazy`; return how many."""
    count = 0
    with written_aside(out, TARGETS) as aside, open(aside, "xb") as file:
        for one in requests:
            count += 1
            target = {
                "method": one["method"],
                "url": one["url"],
                "header": {name: [value] for name, value in one["headers"].items()},
                "body": b64encode(one["body"]).decode(),
            }
            file.write(orjson.dumps(target, option=orjson.OPT_APPEND_NEWLINE))
    return count


def data_file(script: Path) -> Path:
    """Return where the requests of a k6 script go."""
    return script.with_suffix(".jsonl")


def export_k6(requests: Iterable[dict[str, Any]], out: Path) -> int:
    """Write a k6 script to `out` and its requests beside it (.jsonl); return how many. The rate is the plan's mean."""
    count, last_s, beside = 0, 0.0, data_file(out)
    with written_aside(beside, REQUESTS) as aside, open(aside, "xb") as file:
        for one in requests:
            count += 1
            last_s = one["due"]
            line = {**one, "body": one["body"].decode(), "due": round(one["due"], 6)}
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    rate = (count - 1) / last_s if count > 1 and last_s > 0 else 1.0
    filled = {"script": out.name, "data": beside.name, "count": count, "rate": round(rate, 3)}
    write_output(out, (_K6_SCRIPT % filled).encode(), SCRIPT)
    return count
