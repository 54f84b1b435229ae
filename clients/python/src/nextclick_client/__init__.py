"""Client of the Nextclick recommender: `Client` and `AsyncClient`, `EventQueue` and `AsyncEventQueue`, `event`."""

from nextclick_client.async_client import AsyncClient
from nextclick_client.async_queue import AsyncEventQueue
from nextclick_client.calls import event
from nextclick_client.client import Client
from nextclick_client.errors import FieldProblem, NextclickError, Refused, Unavailable, WrongUse
from nextclick_client.queue import EventQueue
from nextclick_client.retries import Retry
from nextclick_client.types import (
    CatalogueAnswer,
    Event,
    EventsAnswer,
    PageAnswer,
    Recommendation,
    RecommendationAnswer,
    Rejected,
    UserAnswer,
)

__all__ = [
    "AsyncClient",
    "AsyncEventQueue",
    "CatalogueAnswer",
    "Client",
    "Event",
    "EventQueue",
    "EventsAnswer",
    "FieldProblem",
    "NextclickError",
    "PageAnswer",
    "Recommendation",
    "RecommendationAnswer",
    "Refused",
    "Rejected",
    "Retry",
    "Unavailable",
    "UserAnswer",
    "WrongUse",
    "event",
]
