"""Addresses of HTTP services, as people and browsers write them: the one place that takes them apart. And what the path
of a unix socket may be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import urlsplit

from contracts.errors import SettingsError

MOST_SOCKET_PATH: Final = 107
"""Bytes of the path of a unix socket, at most: the kernel's own bound."""
_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where a service listens. `path` stands in front of every request's, without a slash at its end."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @classmethod
    def of(cls, url: str) -> Self:
        """Parse `https://shop.example/api`, or `localhost:8080`, which is http. Raises SettingsError."""
        text = url.strip()
        try:
            parts = urlsplit(text if _SCHEME.match(text) else f"http://{text.removeprefix('//')}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise _unusable(url, "its host or its port cannot be read") from None
        if parts.scheme not in _PORTS or not host or host.isdecimal():
            raise _unusable(url, "it names no host that speaks HTTP")
        if "@" in parts.netloc:
            raise _unusable(url, "users and passwords are not sent: leave them out")
        if port == 0:
            raise _unusable(url, "nothing listens on port 0")
        if parts.query or parts.fragment or re.search(r"\s", parts.netloc + parts.path):
            raise _unusable(url, "it has more than a host, a port and a path")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """Host and port as the Host header names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"


def _unusable(url: str, why: str) -> SettingsError:
    shown = re.sub(r"^(\s*\w*:?//)?.*@", r"\1***@", url, flags=re.DOTALL)
    return SettingsError(f"expected a URL such as http://127.0.0.1:8080, got {shown!r:.120}: {why}")


def is_loopback(address: str) -> bool:
    """Tell whether an address, or the name `localhost`, is of the machine itself. Any other name is not: who knows."""
    name = address.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        found = ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def host_name(header: str) -> str:
    """Return the name in a Host header: without its port, in small letters."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def origin_of(text: str) -> str:
    """Return an origin as browsers write it: `https://shop.example`, without the usual port. Raises ValueError."""
    parts = urlsplit(text.strip())
    host, port = parts.hostname, parts.port
    if parts.scheme not in _PORTS or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"expected an origin such as https://shop.example, got {text!r:.100}")
    if "@" in parts.netloc or "*" in host or not host.isascii() or re.search(r"\s", host):
        raise ValueError(f"expected an origin's scheme, host and port in ASCII letters, got {text!r:.100}")
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}" + (f":{port}" if port and port != _PORTS[parts.scheme] else "")
