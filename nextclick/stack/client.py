"""A small client of the gateway for the command line: one kept connection, JSON both ways."""

from __future__ import annotations

import http
import http.client
import socket
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import quote

import orjson

from contracts.addresses import HttpAddress
from contracts.api_keys import VARIABLE
from contracts.errors import NextclickError
from contracts.own_gateway import context_to
from contracts.tls_advice import tls_advice
from nextclick.stack.api_key import api_key

_PREFER: Final = {True: dict[str, str](), False: {"Prefer": "wait=0"}}
"""Whether to wait until recommendations see a change (RFC 7240)."""


class GatewayRefused(NextclickError):
    """The gateway answered something else than expected."""

    def __init__(self, method: str, path: str, status: int, body: bytes) -> None:
        self.status = status
        super().__init__(f"{method} {path}: expected a 2xx answer, got {status}: {_told(body)}")


class NoKey(GatewayRefused):
    """The gateway asks for an API key, or does not know the one that came."""

    def __init__(self, method: str, path: str, status: int, body: bytes) -> None:
        super().__init__(method, path, status, body)
        self.args = (f"{self.args[0]}; this command sends the key of {VARIABLE} or of --key-file",)


class GatewayUnreachable(NextclickError):
    """Nothing answers at the gateway's address."""


class NoGateway(NextclickError):
    """What answers at the address is no gateway."""


def expect_listening(url: str) -> None:
    """Raise GatewayUnreachable when nothing listens at the address: better said before a long run than after it.

    Raises SettingsError for what is no address.
    """
    address = HttpAddress.of(url)
    try:
        socket.create_connection((address.host, address.port), timeout=5).close()
    except OSError as error:
        raise GatewayUnreachable(
            f"expected a gateway at {url}, got {error!r}: start one with `nextclick up`, or give --url"
        ) from error


class Client:
    """Talks to one gateway. Not for several threads at once."""

    def __init__(self, url: str, timeout_s: float = 30.0, *, key: str | None = None) -> None:
        """`timeout_s` bounds each wait for the gateway. `key` is sent, that of the environment where it is None.

        Raises SettingsError for what is no http(s) URL, or no key.
        """
        address = HttpAddress.of(url)
        sent = api_key() if key is None else key
        self._headers = {"Authorization": f"Bearer {sent}"} if sent else {}
        self._url, self._path = address.url, address.path
        self._connection = _connection_to(address, timeout_s)
        self.why_not_ready = "not asked"
        self._kept = False  # whether an answer has come over this connection
        self.asked_per_s: float | None = None
        """Recommendations that the gateway process which answered last is asked for; None where it did not say."""

    def is_ready(self) -> bool:
        """Tell whether the gateway answers and has loaded its tables; `why_not_ready` says what it said else."""
        try:
            self._call("GET", "/readyz")
        except (GatewayUnreachable, GatewayRefused) as error:
            self.why_not_ready = str(error)
            return False
        self.why_not_ready = ""
        return True

    def readiness(self) -> dict[str, Any]:
        """Return what a ready gateway says of itself. Raises GatewayRefused (503: it is not ready), GatewayUnreachable,
        NoGateway.
        """
        return self._call("GET", "/readyz")

    def send_events(self, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send events; returns accepted, rejected and token."""
        return self._call("POST", "/api/events", orjson.dumps(list(events)))

    def recommend(self, placement: str, session_id: str, **question: Any) -> dict[str, Any]:
        """Ask for recommendations; returns the answer."""
        body = orjson.dumps({"session_id": session_id, **question})
        return self._call("POST", f"/api/recommendations/{placement}", body)

    def put_items(self, lines: Iterable[bytes], *, wait: bool = True) -> dict[str, Any]:
        """Load items, one JSON document a line; returns once recommendations see them, unless it is not to `wait`."""
        return self._call("POST", "/api/items", b"\n".join(lines), "application/x-ndjson", wait=wait)

    def set_stock(self, stock: Mapping[str, int]) -> dict[str, Any]:
        """Set the stock of items; returns once recommendations see it, or says that they don't yet."""
        body = orjson.dumps([{"item_id": item_id, "stock": left} for item_id, left in stock.items()])
        return self._call("POST", "/api/stock", body)

    def delete_item(self, item_id: str, *, wait: bool = True) -> dict[str, Any]:
        """Remove one item; the answer is the same when it is not there."""
        return self._call("DELETE", f"/api/items/{quote(item_id, safe='')}", wait=wait)

    def item(self, item_id: str) -> dict[str, Any]:
        """Return one catalogue item."""
        return self._call("GET", f"/api/items/{quote(item_id, safe='')}")

    def missing_items(self, item_ids: Sequence[str]) -> list[str]:
        """Return those of the ids that the catalogue does not have."""
        missing: list[str] = []
        for item_id in item_ids:
            try:
                self.item(item_id)
            except GatewayRefused as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                missing.append(item_id)
        return missing

    def finds_item(self, condition: str, *, pages: int = 100) -> bool | None:
        """Return whether the catalogue has an item that a condition keeps; None where `pages` pages did not tell."""
        cursor = ""
        for _ in range(pages):
            found = self._call("GET", f"/api/items?filter={quote(condition, safe='')}&limit=1{cursor}")
            if found["items"] or "cursor" not in found:
                return bool(found["items"])
            cursor = f"&cursor={quote(found['cursor'], safe='')}"
        return None

    def warnings(self, name: str, document: Mapping[str, Any], limit: int = 10) -> list[tuple[str, str]]:
        """Return what the gateway warns of in a draft, as (pointer, detail)."""
        body = {"scenario": document, "request": {"session_id": "nextclick-check", "limit": limit}}
        found = self._call("POST", f"/api/scenarios/{quote(name, safe='')}/preview", orjson.dumps(body))
        return [(one["pointer"], one["detail"]) for one in found.get("warnings") or ()]

    def scenarios(self) -> list[dict[str, Any]]:
        """Return the newest version of every scenario."""
        found: list[dict[str, Any]] = self._call("GET", "/api/scenarios")["scenarios"]
        return found

    def scenario(self, name: str) -> dict[str, Any]:
        """Return the newest version of one scenario."""
        return self._call("GET", _scenario(name))

    def put_scenario(self, name: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Publish a document; returns its version, and whether every process answers by it."""
        return self._call("PUT", _scenario(name), orjson.dumps(document))

    def delete_scenario(self, name: str) -> dict[str, Any]:
        """Take a scenario away."""
        return self._call("DELETE", _scenario(name))

    def scenario_versions(self, name: str) -> list[dict[str, Any]]:
        """Return the versions of a scenario that are kept, the newest first."""
        found: list[dict[str, Any]] = self._call("GET", f"{_scenario(name)}/versions")["scenarios"]
        return found

    def roll_scenario_back(self, name: str, version: int) -> dict[str, Any]:
        """Publish an older version again."""
        return self._call("POST", f"{_scenario(name)}/rollback", orjson.dumps({"version": version}))

    def has_page(self, path: str) -> bool:
        """Tell whether the gateway answers a page there."""
        try:
            self._call("GET", path)
        except GatewayRefused:
            return False
        return True

    def quality(self) -> dict[str, Any]:
        """Return what the checks of the data say."""
        return self._call("GET", "/api/quality")

    def experiments(self) -> list[dict[str, Any]]:
        """Return the newest version of every experiment."""
        found: list[dict[str, Any]] = self._call("GET", "/api/experiments")["experiments"]
        return found

    def experiment(self, name: str) -> dict[str, Any]:
        """Return the newest version of one experiment, and its report where there is one."""
        return self._call("GET", _experiment(name))

    def put_experiment(self, name: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Publish a document; returns its version, and whether every process assigns by it."""
        return self._call("PUT", _experiment(name), orjson.dumps(document))

    def change_experiment(self, name: str, what: str, **change: Any) -> dict[str, Any]:
        """Do one of stop, promote and rollback; returns as `put_experiment`."""
        return self._call("POST", f"{_experiment(name)}/{what}", orjson.dumps(change))

    def experiment_versions(self, name: str) -> list[dict[str, Any]]:
        """Return the versions of an experiment that are kept, the newest first."""
        found: list[dict[str, Any]] = self._call("GET", f"{_experiment(name)}/versions")["experiments"]
        return found

    def close(self) -> None:
        self._connection.close()
        self._kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _call(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json", *, wait: bool = True
    ) -> dict[str, Any]:
        try:
            headers = {**self._headers, **({"Content-Type": kind} if body is not None else {}), **_PREFER[wait]}
            answer = self._answer(method, self._path + path, body, headers)
            content = answer.read()
            self.asked_per_s = _number(answer.getheader("Nextclick-Asked-Per-Second"))
            self._kept = not answer.will_close
        except (OSError, http.client.HTTPException) as error:
            self.close()
            tls = tls_advice(error, address="--url", ca="SSL_CERT_FILE", certificate="its own settings")
            what_to_do = tls or "start one with `nextclick up`, or give --url"
            raise GatewayUnreachable(f"expected a gateway at {self._url}, got {error!r}: {what_to_do}") from error
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            raise NoKey(method, path, answer.status, content)
        if answer.status >= 300:
            raise GatewayRefused(method, path, answer.status, content)
        if "json" not in (answer.getheader("Content-Type") or ""):
            return {}
        try:
            decoded = orjson.loads(content)
        except orjson.JSONDecodeError:
            decoded = None
        if not isinstance(decoded, dict):
            raise NoGateway(
                f"expected a gateway at {self._url}, got an answer that is no JSON object: {content[:60]!r}"
            )
        return decoded

    def _answer(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Send and wait for an answer. What a kept connection's end swallowed is sent once more, over a new one."""
        try:
            self._connection.request(method, path, body, headers)
            return self._connection.getresponse()
        except ConnectionError:
            was_kept = self._kept
            self.close()
            if not was_kept:
                raise
        self._connection.request(method, path, body, headers)
        return self._connection.getresponse()


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _told(body: bytes) -> str:
    """Return what a problem answer says, for people: `pointer: detail` of each field; another answer as it came."""
    try:
        problem = orjson.loads(body)
        found = [f"{one['pointer'] or 'body'}: {one['detail']}" for one in problem.get("errors") or ()]
        said = "\n".join(found if len(found) < 2 else ["", *found]) or problem["detail"]
    except (ValueError, TypeError, LookupError, AttributeError):
        said = None
    return said[:2000] if isinstance(said, str) else body[:300].decode(errors="replace")


def _scenario(name: str) -> str:
    return f"/api/scenarios/{quote(name, safe='')}"


def _experiment(name: str) -> str:
    return f"/api/experiments/{quote(name, safe='')}"


def _connection_to(address: HttpAddress, timeout_s: float) -> http.client.HTTPConnection:
    if (context := context_to(address)) is not None:
        return http.client.HTTPSConnection(address.host, address.port, timeout=timeout_s, context=context)
    return http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
