"""The API key that our own clients send: from a file, or from the environment. Never from the command line, which every
user of the machine sees.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from contracts.api_keys import VARIABLE
from contracts.errors import SettingsError

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_STDIN: Final = Path("-")

KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help=f"File that holds the gateway's API key, - for stdin; else {VARIABLE} has it."),
]


def api_key(file: Path | None = None) -> str:
    """Return the key to send, empty for none. Raises SettingsError for what is none, without showing it."""
    if file is None:
        return _expect_key(VARIABLE, os.environ.get(VARIABLE, ""))
    try:
        text = sys.stdin.read() if file == _STDIN else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--key-file {file}: expected a file that holds an API key, got {error!r}") from error
    if not text.strip():
        raise SettingsError(f"--key-file {file}: expected an API key, got nothing")
    return _expect_key(f"--key-file {file}", text)


def _expect_key(where: str, text: str) -> str:
    key = text.strip()
    if key and not _TOKEN.fullmatch(key):
        raise SettingsError(
            f"{where}: expected one API key, such as ncs_..., got something with spaces or other letters"
        )
    return key
