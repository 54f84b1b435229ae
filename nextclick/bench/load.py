"""An open load of requests, by vegeta: constant rate, latency from the intended time, every answer looked at.

The sender shares the machine with what it measures, so its processor time is told as well.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.errors import NextclickError
from nextclick.bench.other_tools import VEGETA, find_or_build
from replay.engine.template import QUESTION_NAMES, QuestionTemplate, Request

MOST_WORKERS = 4000
DECODED = 2000
"""So many answers of a run are decoded for their stages; of the others only what a search for bytes tells."""
_WHOLE = b'"degraded":[]'
ENDS_S = 30.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load found. `latency_ms` (n,) from the intended time and `took_ms` (n,) from sending, of answers with
    status 200; `finished_s` (n,) when those answers came, from the start. `stages_us` are means over a sample.
    """

    rate: float
    seconds: float
    sent: int
    latency_ms: NDArray[np.float64]
    took_ms: NDArray[np.float64]
    finished_s: NDArray[np.float64]
    statuses: Mapping[str, int]
    degraded: int
    retry_after: int
    stages_us: Mapping[str, float]
    sender_cpu_s: float = 0.0

    @property
    def answered(self) -> int:
        return len(self.latency_ms)

    @property
    def refused(self) -> int:
        """Answers 503: admission said no."""
        return self.statuses.get("503", 0)

    @property
    def errors(self) -> int:
        """What is neither an answer nor a refusal."""
        return self.sent - self.answered - self.refused

    def percentile(self, q: float) -> float:
        """Return a percentile of the latency from the intended time, in ms; 0 without answers."""
        return float(np.percentile(self.latency_ms, q)) if self.answered else 0.0


def write_targets(path: Path, url: str, template: QuestionTemplate, questions: Iterable[Mapping[str, Any]]) -> int:
    """Write vegeta's targets, one request a line; returns how many."""
    import base64

    request = Request.of(template, QUESTION_NAMES)
    number = 0
    with path.open("wb") as file:
        for values in questions:
            target = {
                "method": request.method,
                "url": f"{url.rstrip('/')}{request.path_of(values)}",
                "header": {name: [value] for name, value in request.headers_of(values).items()},
                "body": base64.b64encode(request.body_of(values)).decode(),
            }
            file.write(orjson.dumps(target, option=orjson.OPT_APPEND_NEWLINE))
            number += 1
    return number


def questions_of(sessions: Sequence[str], *, placement: str = "homepage", limit: int = 20) -> Iterator[dict[str, Any]]:
    """Yield one question a session."""
    for session_id in sessions:
        yield {"session_id": session_id, "limit": limit, "placement": placement}


class Attack:
    """One load that runs beside this process. `wait` ends it and reads what it found."""

    def __init__(self, targets: Path, rate: float, seconds: float) -> None:
        self.rate, self.seconds = rate, seconds
        self._binary = find_or_build(VEGETA)
        self._folder = tempfile.TemporaryDirectory(prefix="nextclick-load-")
        self._results = Path(self._folder.name) / "results.bin"
        command = [self._binary, "attack", "-format=json", f"-targets={targets}", f"-output={self._results}"]
        command += [f"-rate={round(rate * 60)}/60s", f"-duration={seconds:g}s", "-timeout=10s"]
        command += [f"-max-workers={MOST_WORKERS}", "-workers=32", "-connections=1000"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE)

    def wait(self) -> Loaded:
        """Wait for the last answer. Raises NextclickError when vegeta failed."""
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace")
        _, status, used = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._process.stderr.close()
        try:
            if self._process.returncode:
                raise NextclickError(f"vegeta failed: {said.strip()[-400:]}")
            with self._results.open("rb") as results:
                reading = subprocess.Popen(
                    [self._binary, "encode", "-to=json"], stdin=results, stdout=subprocess.PIPE, bufsize=1 << 20
                )
                assert reading.stdout is not None
                found = summarise(reading.stdout, self.rate, self.seconds, used.ru_utime + used.ru_stime)
                reading.stdout.close()
                reading.wait(ENDS_S)
            return found
        finally:
            self._folder.cleanup()


def attack(targets: Path, rate: float, seconds: float) -> Loaded:
    """Send the targets round and round at a constant rate, and read what came back."""
    return Attack(targets, rate, seconds).wait()


@dataclass(slots=True)
class _Sums:
    statuses: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    decoded: int = 0
    degraded: int = 0
    retry_after: int = 0


def summarise(lines: Iterable[bytes], rate: float, seconds: float, sender_cpu_s: float = 0.0) -> Loaded:
    """Sum up vegeta's results, one JSON document a line, in any order."""
    import base64

    sent_ns, due, took_ns, good = list[int](), list[int](), list[int](), list[bool]()
    sums = _Sums()
    for line in lines:
        one = orjson.loads(line)
        status = int(one["code"])
        sums.statuses[str(status) if status else one.get("error", "no answer")[:80]] += 1
        sent_ns.append(_nanoseconds(one["timestamp"]))
        due.append(int(one["seq"]))
        took_ns.append(int(one["latency"]))
        good.append(status == 200)
        if status == 200:
            _look_into(base64.b64decode(one.get("body") or b""), sums)
        elif status == 503:
            sums.retry_after += bool((one.get("headers") or {}).get("Retry-After"))
    right = np.array(good, dtype=bool)
    sent, took = np.array(sent_ns, dtype=np.int64), np.array(took_ns, dtype=np.int64)
    intended = (np.array(due, dtype=np.float64) * (1e9 / rate)).astype(np.int64)
    start = int((sent - intended).min()) if len(sent) else 0
    late = sent - start - intended
    return Loaded(
        rate=rate,
        seconds=seconds,
        sent=len(sent),
        latency_ms=((late + took) / 1e6)[right],
        took_ms=(took / 1e6)[right],
        finished_s=((sent - start + took) / 1e9)[right],
        statuses=dict(sums.statuses),
        degraded=sums.degraded,
        retry_after=sums.retry_after,
        stages_us={name: total / sums.decoded for name, total in sums.stages.items()},
        sender_cpu_s=sender_cpu_s,
    )


def _look_into(body: bytes, sums: _Sums) -> None:
    sums.degraded += b'"degraded"' in body and _WHOLE not in body
    if sums.decoded < DECODED:
        try:
            timings = orjson.loads(body).get("timings_us") or {}
        except (ValueError, AttributeError):
            return
        sums.decoded += 1
        sums.stages.update({name: value for name, value in timings.items() if isinstance(value, int | float)})


def _nanoseconds(stamp: str) -> int:
    """Return a timestamp of RFC 3339 with up to nine decimals as nanoseconds since the epoch."""
    from datetime import datetime

    whole, dot, rest = stamp.partition(".")
    digits = "".join(char for char in rest[: _end_of_digits(rest)]) if dot else ""
    zone = rest[len(digits) :] if dot else ""
    seconds = datetime.fromisoformat(f"{whole}{zone}".replace("Z", "+00:00")).timestamp()
    return int(seconds) * 1_000_000_000 + int(digits.ljust(9, "0") or 0)


def _end_of_digits(text: str) -> int:
    return next((at for at in count() if at >= len(text) or not text[at].isdigit()), len(text))
