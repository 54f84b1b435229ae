"""Settings of the judge, which the stack that starts it reads too."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, field_validator

from contracts.addresses import HttpAddress
from contracts.backends import Group
from contracts.errors import SettingsError


class JudgeOptions(Group):
    run: bool = Field(default=False, description="Whether the stack runs the judge of experiments.")
    every: timedelta = Field(
        default=timedelta(minutes=1),
        ge=timedelta(seconds=1),
        description="How often the judge looks at a running experiment; less often where a look takes long.",
    )
    gateway: str = Field(
        default="http://127.0.0.1:8080",
        description="Where the judge stops and promotes; a stack says it by itself.",
    )
    max_lag: timedelta = Field(
        default=timedelta(minutes=2),
        gt=timedelta(0),
        description="The judge stops and promotes nothing while the attribution flow is further behind the log.",
    )

    @field_validator("gateway")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        try:
            return HttpAddress.of(url).url
        except SettingsError as error:
            raise ValueError(str(error)) from error
