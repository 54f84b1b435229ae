"""The fuzzers themselves, for a short while: decoders under atheris, the API under schemathesis, bodies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compiled.kernels import prepare
from nextclick.stack.stack import Stack
from tests.fuzz.api import run_schemathesis
from tests.fuzz.bodies import send_bodies
from tests.fuzz.run import fuzz
from tests.fuzz.shop import running_shop
from tests.fuzz.target import names

pytestmark = pytest.mark.slow

SECONDS = 15.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_shop(tmp_path_factory.mktemp("fuzzed") / "stack") as stack:
        yield stack


def test_new_inputs_are_refused_or_taken(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    prepare()
    fuzzed = fuzz(names(), SECONDS, folder=tmp_path / "work", jobs=2, corpus=tmp_path / "corpus")
    assert min(one.executions for one in fuzzed) > 0
    assert [(path.parent.name, path.name, path.read_bytes()) for one in fuzzed for path in one.findings] == []


def test_every_answer_is_as_the_document_says(shop: Stack) -> None:
    said = run_schemathesis(shop.url, examples=5, seed=1, seconds=25)
    if said:
        pytest.fail(said)  # whole: pytest shortens what an assertion compares


def test_bodies_that_are_almost_valid_harm_nobody(tmp_path: Path) -> None:
    sent = send_bodies(3000, connections=8, seed=3, folder=tmp_path / "stack")
    assert sent.failures == []
    assert sent.otherwise == []
    assert sent.tracebacks == []
    assert {status for status in sent.statuses if status >= 500} <= {503}
    assert min(sent.statuses[status] for status in (200, 202, 400, 404, 405, 415, 422)) > 10
