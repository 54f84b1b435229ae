"""One target under atheris (libFuzzer, guided by the branches that an input takes), in a process of its own.

    python -m tests.fuzz.child TARGET FOLDER MODULES [libFuzzer's options]

FOLDER/inputs holds what is mutated, and gets what takes new branches; FOLDER/findings gets the shortest input of each
finding, while fuzzing goes on. What ends the process (a crash, a hang, no memory) libFuzzer writes beside them.
"""

from __future__ import annotations

import logging
import sys
import warnings
from hashlib import sha256
from pathlib import Path
from random import Random

import atheris

from tests.fuzz.mutation import mutated
from tests.fuzz.target import Target, load, place_of


class Findings:
    """Keeps the shortest input of each finding."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[tuple[str, str, int], Path] = {}

    def keep(self, raw: bytes, error: Exception) -> None:
        place = place_of(error)
        before = self._found.get(place)
        if before is not None and before.stat().st_size <= len(raw):
            return
        path = self._found[place] = self._folder / f"{place[0]}-{sha256(raw).hexdigest()[:8]}"
        path.write_bytes(raw)
        if before is not None and before != path:
            before.unlink(missing_ok=True)


def main() -> None:
    name, folder, modules, *options = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("error")
    with atheris.instrument_imports(include=modules.split(","), enable_loader_override=False):
        target = load(name)
    findings = Findings(Path(folder) / "findings")

    def one(raw: bytes) -> None:
        error = target.try_on(raw)
        if error is not None:
            findings.keep(raw, error)

    atheris.Setup([sys.argv[0], f"{folder}/inputs", *options], one, custom_mutator=mutator(target))
    atheris.Fuzz()


def mutator(target: Target):  # type: ignore[no-untyped-def]
    def mutate(raw: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.5:
            return mutated(raw, random, target.seeds, target.words)[:most]
        changed: bytes = atheris.Mutate(raw, len(raw) + 64)
        return changed[:most]

    return mutate


if __name__ == "__main__":
    main()
