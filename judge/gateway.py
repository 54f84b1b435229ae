"""Asks the gateway to stop an experiment, or to promote a variant."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import orjson

from contracts.addresses import HttpAddress
from contracts.errors import NextclickError
from contracts.own_gateway import context_to
from contracts.tls_advice import tls_advice
from judge.action import Action
from judge.told import BY

TIMEOUT_S: Final = 30.0
KNOWN_S: Final = 10.0
"""How long a gateway may take to know a key that was just made."""
_NO_KEY: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class NotDone(NextclickError):
    """The gateway did not do what it was asked: it cannot be reached, or says why."""


class Gateway:
    """For one thread. Each request has a connection of its own: there is one in days."""

    def __init__(self, url: str, key: str, make_key: Callable[[], str]) -> None:
        """`key` is sent; where it is empty and the gateway asks for one, `make_key` makes it. Raises SettingsError."""
        self._address, self._key = HttpAddress.of(url), key
        self._make_key = None if key else make_key

    def do(self, name: str, version: int, action: Action) -> None:
        """Do it to this version of an experiment, once it is published. Raises NotDone, also where another version is,
        and what making a key raises.
        """
        body = {"version": version, "by": BY, "why": action.why}
        if action.kind == "promote":
            body["variant"] = action.variant
        path = f"/api/experiments/{quote(name, safe='')}/{action.kind}"
        status, answer = self._asked(path, orjson.dumps(body))
        if status in _NO_KEY and self._make_key is not None:
            self._key = self._make_key()
            until = time.monotonic() + KNOWN_S
            while status in _NO_KEY and time.monotonic() < until:
                status, answer = self._asked(path, orjson.dumps(body))
                time.sleep(0.05 if status in _NO_KEY else 0.0)
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise NotDone(f"POST {path}: expected a 2xx answer, got {status}: {_detail(answer)}")

    def _asked(self, path: str, body: bytes) -> tuple[int, bytes]:
        address = self._address
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        connection = self._connection()
        try:
            connection.request("POST", address.path + path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            tls = tls_advice(
                error, address="NEXTCLICK_JUDGE__GATEWAY", ca="SSL_CERT_FILE", certificate="its own settings"
            )
            advice = tls or "NEXTCLICK_JUDGE__GATEWAY says where it is"
            raise NotDone(f"expected a gateway at {address.url}, got {error!r}: {advice}") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        address = self._address
        if (context := context_to(address)) is not None:
            return http.client.HTTPSConnection(address.host, address.port, timeout=TIMEOUT_S, context=context)
        return http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_S)


def _detail(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["detail"])[:500]
    except (ValueError, TypeError, LookupError):
        return body[:200].decode(errors="replace")
