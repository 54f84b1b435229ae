"""Settings of calls to the shop's server: who is told of what, how often it is tried, and how much may wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from contracts.backends import Group

_Secret = Annotated[str, Field(min_length=16, max_length=200)]


class WebhookOptions(Group):
    url: str = Field(
        default="",
        max_length=2000,
        description="Where price drops and items back in stock are told, with the users who wait for them; empty: "
        "nowhere, and nothing is kept for it.",
    )
    allow: list[str] = Field(
        default=[],
        description='Origins that may be called, as JSON: ["https://shop.example"]. No other ever is, nor a redirect '
        "followed.",
    )
    secrets: list[_Secret] = Field(
        default=[],
        max_length=4,
        repr=False,
        description="What calls are signed with (HMAC-SHA256), one signature each, of 16 characters or more. As JSON. "
        "Two while one gives way to the other.",
    )
    price_drop: float = Field(
        default=0.05, ge=0, lt=1, description="A price that falls by more than this share is told."
    )
    keep: timedelta = Field(
        default=timedelta(days=30),
        gt=timedelta(0),
        le=timedelta(days=365),
        description="A user waits for an item for so long after the last click on it, at most.",
    )
    max_items: int = Field(
        default=20, ge=1, le=1000, description="Items that a user waits for, at most: the newest. About 100 bytes each."
    )
    max_users: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Users that are told of an item, at most: those of the newest clicks.",
    )
    users_a_call: int = Field(default=100, ge=1, le=10_000, description="Users named in one call; more are more calls.")
    attempts: int = Field(
        default=12, ge=1, le=100, description="A call is made so often; after the last it is a dead letter."
    )
    first_pause: timedelta = Field(
        default=timedelta(seconds=1),
        gt=timedelta(0),
        description="After the first attempt; then twice as long each time.",
    )
    longest_pause: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0), description="Between two attempts.")
    timeout: timedelta = Field(
        default=timedelta(seconds=10), gt=timedelta(0), le=timedelta(minutes=5), description="Of one attempt."
    )
    max_waiting: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Calls that wait, at most; newer ones are left out, and counted.",
    )

    @property
    def on(self) -> bool:
        return bool(self.url)

    @property
    def keep_ms(self) -> int:
        return int(self.keep.total_seconds() * 1000)

    @model_validator(mode="after")
    def _are_signed(self) -> WebhookOptions:
        if self.url and not self.secrets:
            raise ValueError("expected secrets to sign calls with, got a url alone: name one of 16 characters or more")
        return self
