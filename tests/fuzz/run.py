"""Fuzzing all targets for a while: a process each, what is found made small and put into the corpus."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.fuzz.target import CORPUS, Target, kept, load, place_of

ROOT = Path(__file__).parents[2]
LONGEST_INPUT = 16_384
HANGS_AFTER_S, MOST_MB = 10, 3000
"""An input that takes longer, or more memory, is a finding."""
STARTS_WITHIN_S = 300
SHRINKING_S = 10.0
_RUNS, _NEW, _COVERED = (re.compile(one) for one in (r"Done (\d+) runs", r"new_units_added:\s*(\d+)", r"cov: (\d+)"))
_ENDED_BY = ("crash-", "timeout-", "oom-", "leak-")


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What came of one target. `covered` counts branches; `findings` are corpus files."""

    target: str
    executions: int
    seconds: float
    covered: int
    new_inputs: int
    findings: tuple[Path, ...]
    said: str = ""


def fuzz(
    names: Sequence[str],
    seconds: float,
    *,
    folder: Path,
    jobs: int = 1,
    corpus: Path = CORPUS,
    done: Callable[[Fuzzed], None] = lambda one: None,
) -> list[Fuzzed]:
    """Fuzz targets for so many seconds in all, `jobs` at a time; `done` is told of each when it is through.

    `folder` keeps the inputs that took new branches, by target: the next run goes on from them.
    """
    each_s = max(1, round(seconds * jobs / len(names)))

    def one(name: str) -> Fuzzed:
        found = fuzz_one(name, each_s, folder=folder / name, corpus=corpus)
        done(found)
        return found

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, names))


def fuzz_one(name: str, seconds: int, *, folder: Path, corpus: Path = CORPUS) -> Fuzzed:
    """Fuzz one target. Raises RuntimeError when its process ends without having tried an input."""
    target, began = load(name), time.monotonic()
    prepare(name, target, folder)
    options = (
        *(
            f"-max_total_time={seconds}",
            f"-timeout={HANGS_AFTER_S}",
            f"-rss_limit_mb={MOST_MB}",
            "-print_final_stats=1",
        ),
        *(f"-max_len={LONGEST_INPUT}", f"-artifact_prefix={folder}/findings/"),
        *([f"-dict={folder}/words"] if target.words else ()),
    )
    command = [sys.executable, "-P", "-m", "tests.fuzz.child", name, str(folder), ",".join(target.code), *options]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + STARTS_WITHIN_S,
        check=False,
    )
    runs = [int(number) for number in re.findall(r"^#(\d+)", ended.stderr, re.MULTILINE)]
    executions = int(match[1]) if (match := _RUNS.search(ended.stderr)) else max(runs, default=0)
    if not executions:
        raise RuntimeError(f"{name}: expected inputs to be tried, got none: {ended.stderr[-2000:]}")
    findings = [_kept(name, target, path, corpus) for path in sorted((folder / "findings").iterdir())]
    covered = [int(number) for number in _COVERED.findall(ended.stderr)]
    new = int(match[1]) if (match := _NEW.search(ended.stderr)) else 0
    took_s = time.monotonic() - began
    return Fuzzed(name, executions, took_s, max(covered, default=0), new, tuple(findings), ended.stderr[-500:])


def prepare(name: str, target: Target, folder: Path) -> None:
    """Lay out a target's folder: valid inputs and its corpus to begin with, words for mutations, no finding."""
    for inner in ("inputs", "findings"):
        (folder / inner).mkdir(parents=True, exist_ok=True)
    for old in (folder / "findings").iterdir():
        old.unlink()
    for raw in (*target.seeds, *(path.read_bytes() for path in kept(name))):
        (folder / "inputs" / f"seed-{sha256(raw).hexdigest()[:16]}").write_bytes(raw)
    lines = ("".join(f"\\x{byte:02x}" for byte in word[:60]) for word in target.words)
    (folder / "words").write_text("".join(f'"{line}"\n' for line in lines))


def shrunk(target: Target, raw: bytes, within_s: float = SHRINKING_S) -> bytes:
    """Return the shortest input found that goes wrong at the same place as `raw`."""
    error, until = target.try_on(raw), time.monotonic() + within_s
    if error is None:
        return raw
    place, size = place_of(error), max(1, len(raw) // 2)
    while size and time.monotonic() < until:
        for shorter in _without(raw, size):
            again = target.try_on(shorter)
            if again is not None and place_of(again) == place:
                raw = shorter
                break
            if time.monotonic() > until:
                break
        else:
            size //= 2
    return raw


def _without(raw: bytes, size: int) -> Iterable[bytes]:
    return (raw[:at] + raw[at + size :] for at in range(0, len(raw), size))


def _kept(name: str, target: Target, path: Path, corpus: Path) -> Path:
    """Put a finding into the corpus, made small where that can be tried in this process."""
    raw, kind = path.read_bytes(), path.name.partition("-")[0]
    if not path.name.startswith(_ENDED_BY):
        raw = shrunk(target, raw)
    (corpus / name).mkdir(parents=True, exist_ok=True)
    out = corpus / name / f"{kind}-{sha256(raw).hexdigest()[:8]}"
    out.write_bytes(raw)
    return out
