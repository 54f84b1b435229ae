"""Every decoder on what once went wrong, on what is valid, and on some hundreds of things that are almost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.target import Target, kept, load, names

MUTATIONS = 150


def corpus() -> Iterator[tuple[str, Path]]:
    return ((name, path) for name in names() for path in kept(name))


@pytest.mark.parametrize("name", names())
def test_a_valid_input_is_taken(name: str) -> None:
    target = load(name)
    for raw in target.valid.values():
        target.check(raw)


@pytest.mark.parametrize(("name", "path"), [pytest.param(*one, id=f"{one[0]}-{one[1].name}") for one in corpus()])
def test_what_once_went_wrong_is_refused_or_taken(name: str, path: Path) -> None:
    load(name).check_or_refuse(path.read_bytes())


@pytest.mark.parametrize("name", names())
def test_what_is_almost_valid_is_refused_or_taken(name: str) -> None:
    target, random = load(name), Random(name)
    for raw in almost(target, random):
        target.check_or_refuse(raw)


def almost(target: Target, random: Random) -> Iterator[bytes]:
    for _ in range(MUTATIONS):
        yield mutated(random.choice(target.seeds), random, target.seeds, target.words)
