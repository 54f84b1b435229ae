"""The guard: which host a request calls this gateway by, and which key it brings. Refusals say what is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from contracts.addresses import host_name, is_loopback
from contracts.api_keys import Scope
from gateway.access import Access, access_of
from gateway.key_table import Caller, KeyTable
from gateway.own_machine import CALLER, expect_own_machine
from gateway.problems import Refused, unavailable
from gateway.rates import RATES, take_key
from gateway.settings import GatewayOptions
from gateway.vendor_keys import IN_BODY, expect_narrow, key_in_body, key_of

_REALM: Final = 'Bearer realm="nextclick"'
_MOST_HOSTS: Final = 100
_ANY: Final = "*"
IN_QUERY: Final = "key"
_PUBLIC: Final = "ncp_"

Headers = Mapping[str, str]


class Door:
    """Checks requests. With keys, whoever has none is refused; without, on the machine itself, whoever calls it by a
    name that is not its own: a foreign page whose name was made to lead here (DNS rebinding).
    """

    def __init__(self, options: GatewayOptions, keys: KeyTable) -> None:
        self._keys = keys
        self.asks_keys = options.asks_keys
        """Whether a key is needed."""
        self._hosts = frozenset(name.lower() for name in options.hosts)
        guarded = bool(options.hosts) or (not options.asks_keys and is_loopback(options.host))
        self._checks_hosts = guarded and _ANY not in self._hosts
        self._known: set[str] = set()
        self.loaded: Callable[[], bool] = lambda: True
        """Tells whether the keys are in memory."""

    @property
    def is_open(self) -> bool:
        """Whether there is nothing to check."""
        return not self.asks_keys and not self._checks_hosts

    def expect_short(self, headers: Headers, scope: Scope) -> Caller | None:
        """Check a request that is no page's, by its headers alone; returns what `expect` does. Raises Refused."""
        if self._checks_hosts and headers.get(hdrs.HOST) not in self._known:
            self._expect_host(headers)
        if self.asks_keys:
            return self._admitted(headers, headers.get(hdrs.AUTHORIZATION), scope)
        return None

    async def expect(self, request: web.Request, access: Access) -> Caller | None:
        """Check a request; returns who sent it, None where no key is needed. Raises Refused: 401, 403, 503, and as
        `key_in_body`.
        """
        headers = request.headers
        if self._checks_hosts and not access.any_host:
            self._expect_host(headers)
        if not self.asks_keys or access.scope is None:
            return None
        given = headers.get(hdrs.AUTHORIZATION)
        if access.vendors and (text := key_of(given, request.query)) is not None:
            return expect_narrow(self._caller(headers, text.key, access.scope), text)
        if given is None and IN_QUERY in request.query:
            return self._by_query(request, access)
        in_body = given is None and access.vendors and request.match_info.get("vendor") == IN_BODY
        if in_body and (found := await key_in_body(request)) is not None:
            return self._caller(headers, found.key, access.scope)
        if given is None and access.own_machine:
            self._expect_own_machine(request, access.scope)
            return None
        return self._admitted(headers, given, access.scope)

    def _admitted(self, headers: Headers, given: str | None, scope: Scope) -> Caller:
        if given is None:
            detail = f"expected an API key of scope {scope} (Authorization: Bearer ...), got none"
            raise _unknown(scope, f"{detail}: `nextclick keys create` makes one")
        kind, _, text = given.partition(" ")
        if kind.lower() != "bearer":
            raise _unknown(
                scope, f"expected an API key of scope {scope} as Authorization: Bearer ..., got another kind"
            )
        return self._caller(headers, text.strip(" "), scope)

    def _by_query(self, request: web.Request, access: Access) -> Caller:
        assert access.scope is not None
        text = request.query[IN_QUERY]
        if not access.query or not text.startswith(_PUBLIC):
            raise _unknown(
                access.scope,
                f"expected an API key of scope {access.scope} as Authorization: Bearer ...; in the address only a "
                "public key is taken, for events and recommendations: addresses are logged on their way, so rotate a "
                "secret key that stood there",
            )
        return self._caller(request.headers, text, access.scope)

    def _caller(self, headers: Headers, text: str, scope: Scope) -> Caller:
        caller = self._keys.find(text)
        if caller is None:
            if not self.loaded():
                raise unavailable("the API keys are still being loaded: retry")
            raise _unknown(scope, self._none_like_it(), error="invalid_token")
        if scope not in caller.scopes:
            detail = f"expected a key of scope {scope}, got one of {', '.join(sorted(caller.scopes))}"
            raise _forbidden(scope, f"{detail}: use another, or make one with `nextclick keys create`")
        if caller.origins:
            origin = headers.get(hdrs.ORIGIN)
            if origin not in caller.origins:
                said = f"{origin[:100]!r}" if origin is not None else "a request without Origin"
                raise _forbidden(
                    scope, f"expected a page of an origin that this public key is for (scope {scope}), got {said}"
                )
        return caller

    def _none_like_it(self) -> str:
        if not len(self._keys):
            return "there are no API keys yet: `nextclick keys create` makes one"
        return "this API key is not known here: it was mistyped, revoked, or its overlap is over after a rotation"

    def _expect_own_machine(self, request: web.Request, scope: Scope) -> None:
        try:
            expect_own_machine(request)
        except Refused:
            detail = f"expected an API key of scope {scope}, or a request from the gateway's own machine, not forwarded"
            raise _unknown(scope, f"{detail}; got none") from None

    def _expect_host(self, headers: Headers) -> None:
        """Refuse (403) a request that names a host which is not ours. Browsers always name one.

        A name without a dot is nobody's in the DNS: only this machine or its network can have made it lead here.
        """
        given = headers.get(hdrs.HOST)
        if given is None or given in self._known:
            return
        name = host_name(given).removesuffix(".")
        if not is_loopback(name) and name not in self._hosts and _is_foreign(name):
            raise Refused(
                HTTPStatus.FORBIDDEN,
                f"expected a request to this machine by its own name, got one to {name[:100]!r}: name the host in "
                "gateway.hosts where it is yours (a page of another site may have made its name lead here)",
            )
        if len(self._known) < _MOST_HOSTS:
            self._known.add(given)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who may; whatever leads nowhere (404, 405) is said to everybody."""
    if request.match_info.http_exception is None:
        caller = await request.app[DOOR].expect(request, access_of(request))
        if caller is not None:
            request[CALLER] = caller
            await take_key(caller.key_id, request.app[RATES])
    return await handler(request)


DOOR = web.AppKey("door", Door)


def _is_foreign(name: str) -> bool:
    return "." in name or ":" in name


def _unknown(scope: Scope, detail: str, *, error: str = "") -> Refused:
    """Return a 401 (RFC 6750): without an error code where no key came."""
    said = f'{_REALM}, error="{error}"' if error else f'{_REALM}, scope="{scope}"'
    return Refused(HTTPStatus.UNAUTHORIZED, detail, headers={hdrs.WWW_AUTHENTICATE: said})


def _forbidden(scope: Scope, detail: str) -> Refused:
    said = f'{_REALM}, error="insufficient_scope", scope="{scope}"'
    return Refused(HTTPStatus.FORBIDDEN, detail, headers={hdrs.WWW_AUTHENTICATE: said})
