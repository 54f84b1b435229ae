"""Options that a setting stands behind. They have no default of their own: what was left out is not passed on, and the
help shows what the setting says.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Annotated, Any

import typer

from contracts.errors import NextclickError
from contracts.masked import masked
from nextclick.stack.settings import StackSettings, description_of, gateway_url, up_settings, value_of


def setting_option(name: str, *flags: str, help: str = "", **bounds: Any) -> Any:
    """Return typer's option of a setting (`stack.port`), for a parameter whose default is None. Its help is the
    setting's own unless another is given.
    """
    text = help or description_of(StackSettings, name)
    return typer.Option(*flags, help=text, show_default=_shown(value_of(_settings(), name)), **bounds)


def url_option(help: str) -> Any:
    """Return the option of a gateway's address: without it that of the settings, or of the stack that runs."""
    try:
        shown = gateway_url()
    except NextclickError:
        shown = "none: NEXTCLICK_STACK__PORT takes a free one"
    return typer.Option("--url", help=help, show_default=shown)


@cache
def _settings() -> StackSettings:
    """Return what the settings say; where they cannot be read the defaults, as the help is still of use then."""
    try:
        return up_settings({})
    except NextclickError:
        return StackSettings.model_construct()


def _shown(value: object) -> str | bool:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, timedelta):
        return f"{value.total_seconds() / 3600:g} hours"
    return masked(str(value)) if value != "" else False


Port = Annotated[int | None, setting_option("stack.port", min=0, max=65535)]
