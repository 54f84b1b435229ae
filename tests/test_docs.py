"""What the documents tell people to type exists, and what is generated is current."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from nextclick.cli import build_app
from nextclick.show.features_table import features_table
from nextclick.show.settings_table import settings_table

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WRAPPED = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LONGEST = 140
"""Characters of a line of prose; most pages wrap at 110."""
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def typed_lines(page: Path) -> Iterator[str]:
    """Lines of a page's code blocks, continued lines joined, prompts and comments left out."""
    for block in re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield line.partition("  #")[0].strip().removeprefix("$ ")


def commands(name: str) -> list[tuple[str, list[str]]]:
    """Every use of a program on any page, with its arguments."""
    found = []
    for page in PAGES:
        for line in typed_lines(page):
            words = shlex.split(line, comments=True) if line.count("'") % 2 == 0 and line.count('"') % 2 == 0 else []
            words = [word for word in words if not re.match(r"^[A-Z_]+=", word)] if words else []
            if words and Path(words[0]).name == name:
                found.append((f"{page.name}: {line}", words[1:]))
    return found


def commands_of_console() -> list[tuple[str, list[str]]]:
    """Every command that a page of the console tells people to type, with its arguments."""
    found = []
    for page in sorted((ROOT / "gateway" / "static" / "console").glob("*.js")):
        for text in re.findall(r"['`>](?:[A-Z_]+=\S+ )*(nextclick [a-z][^'`<]*)", page.read_text()):
            for line in text.split("\\n"):
                words = [word.rstrip(".") for word in line.split() if not re.match(r"^[A-Z_]+=", word)]
                found.append((f"{page.name}: {line}", words[1:]))
    return found


@pytest.mark.parametrize(
    ("line", "words"), [*commands("nextclick"), *commands_of_console()], ids=lambda value: str(value)[:80]
)
def test_every_nextclick_command_on_a_page_exists_with_its_options(line: str, words: list[str]) -> None:
    command = typer.main.get_command(build_app())
    rest = list(words)
    while isinstance(command, typer.core.TyperGroup):
        assert rest, line
        if rest[0] not in command.commands and "make" in command.commands:  # a group that is a command too
            rest.insert(0, "make")
        assert rest[0] in command.commands, f"{line}: no command {rest[0]!r}"
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    used = {word.partition("=")[0] for word in rest if word.startswith("-")}
    assert used <= known | {"--help"}, f"{line}: unknown {used - known}"


@pytest.mark.parametrize(("line", "words"), commands("make"), ids=lambda value: str(value)[:80])
def test_every_make_target_on_a_page_exists(line: str, words: list[str]) -> None:
    assert words[0] in TARGETS, line


def anchors(page: Path) -> set[str]:
    """Return what a link may name behind `#` on a page: its headings, as a Markdown reader turns them into names."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", page.read_text()):
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in anchors(there), f"{page.name} links to {target}#{anchor}: no such heading"


def prose(page: Path) -> Iterator[str]:
    """Lines of a page outside its code blocks and tables."""
    in_code = False
    for line in page.read_text().splitlines():
        in_code ^= line.startswith("```")
        if not in_code and not line.startswith(("```", "    ", "|")):
            yield line


@pytest.mark.parametrize("page", WRAPPED, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_prose_wrap(page: Path) -> None:
    assert [line for line in prose(page) if len(line) > LONGEST] == []


def test_the_settings_page_is_what_the_settings_say() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == settings_table() + "\n", "run `make docs`"


def test_the_features_page_is_what_the_blocks_declare() -> None:
    assert (ROOT / "docs" / "features.md").read_text() == features_table() + "\n", "run `make docs`"
