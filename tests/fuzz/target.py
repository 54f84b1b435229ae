"""What a fuzzing target is, and where targets and the inputs that they are tried with lie."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

CORPUS = Path(__file__).parent / "corpus"
"""`<target>/<name>`: inputs that once went wrong, and a few by hand. Each is tried by `test_corpus.py`."""


@dataclass(frozen=True, slots=True)
class Target:
    """A decoder under test.

    `check` reads an input; it raises one of `refusals` for what is to be refused, and anything else (an AssertionError
    among them) is a finding. `valid` are inputs by name that are to be taken: mutations begin with them, and with
    `odd` ones. `words` are what a mutation may put in. `code` names the modules whose branches count as progress.
    """

    check: Callable[[bytes], None]
    valid: Mapping[str, bytes]
    code: tuple[str, ...]
    odd: tuple[bytes, ...] = ()
    refusals: tuple[type[Exception], ...] = ()
    words: tuple[bytes, ...] = ()

    @property
    def seeds(self) -> list[bytes]:
        """What mutations begin with."""
        return [*self.valid.values(), *self.odd]

    def check_or_refuse(self, raw: bytes) -> None:
        """Read an input. Raises what is a finding."""
        with suppress(*self.refusals):
            self.check(raw)

    def try_on(self, raw: bytes) -> Exception | None:
        """Return what is wrong with how an input was read, None when nothing is."""
        try:
            self.check_or_refuse(raw)
        except Exception as error:
            return error
        return None


def names() -> list[str]:
    """Return the names of all targets: a module each."""
    return sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "targets")]))


def load(name: str) -> Target:
    """Return a target. Raises ModuleNotFoundError for a name that is none."""
    found: Target = importlib.import_module(f"tests.fuzz.targets.{name}").TARGET
    return found


def kept(name: str) -> Iterator[Path]:
    """Yield the corpus files of a target."""
    folder = CORPUS / name
    yield from sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else ()


def place_of(error: BaseException) -> tuple[str, str, int]:
    """Return what a finding is known by: the type of error, and the file and line of ours that raised it last."""
    trace, found = error.__traceback__, ("", 0)
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if "site-packages" not in path and "/lib/python" not in path:
            found = Path(path).name, trace.tb_lineno
        trace = trace.tb_next
    return (type(error).__name__, *found)


def dumped(document: object) -> bytes:
    return orjson.dumps(document)


def read_by_one(readers: Iterable[Callable[[], object]], refusals: tuple[type[Exception], ...]) -> None:
    """Let several read one input, each of which may refuse it. Raises the first refusal where all do."""
    refused: list[Exception] = []
    taken = 0
    for read in readers:
        try:
            read()
            taken += 1
        except refusals as error:
            str(error).encode(errors="surrogateescape")
            refused.append(error)
    if not taken:
        raise refused[0]
