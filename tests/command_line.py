"""One command line for all tests: Typer makes its commands anew each time that one is typed, a quarter of a second."""

from __future__ import annotations

from functools import cache

import typer.main
import typer.testing

typer.main.get_command = typer.testing._get_command = cache(typer.main.get_command)
