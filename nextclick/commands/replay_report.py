"""`nextclick replay report`: a result as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contracts.outputs import expect_outputs
from nextclick.show.replay import console


def report(
    result: Annotated[Path, typer.Argument(help="A result that `replay play --out` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write (.html).")],
) -> None:
    """Turn a result into one self-contained HTML page."""
    from replay.report.page import REPORT, read_result, write_report

    expect_outputs((out, REPORT), inputs=[result])
    write_report(read_result(result), out)
    console.print(f"Written: {out}")
