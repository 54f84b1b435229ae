"""`python -m retrieval.shard_probe unix:PATH` or `HOST:PORT`: does a shard of the index answer there? For probes.

Status 0: it does, whatever it would say to a gateway. 1, with a line: nobody listens, or it still loads its items.
"""

from __future__ import annotations

import socket
import sys

from contracts.errors import SettingsError
from retrieval.shard_heads import HEADER, LOADING, SEARCH, BadFrame, Kind, framed, head_of, place_of

WITHIN_S = 3.0


def why_not(address: str) -> str | None:
    """Return why the shard at an address does not answer; None where it does. Raises SettingsError."""
    place = place_of(address)
    family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(WITHIN_S)
            connection.connect(place)
            connection.sendall(framed(Kind.SEARCH, 1, SEARCH.pack(0, 0, 0, 0, 1, 1, 0, 0)))  # no query of no shard
            with connection.makefile("rb") as answer:
                head = head_of(answer.read(HEADER.size).ljust(HEADER.size, b"\0"))
                said = answer.read(head.length)
    except (OSError, BadFrame) as error:
        return f"no answer at {address}: {error or type(error).__name__}"
    return LOADING if (head.kind, said) == (Kind.REFUSAL, LOADING.encode()) else None


def main() -> int:
    try:
        [address] = sys.argv[1:]
        why = why_not(address)
    except (SettingsError, ValueError) as error:
        why = f"expected unix:PATH or HOST:PORT of a shard, got {' '.join(sys.argv[1:])!r}: {error}"
    if why is not None:
        sys.stderr.write(why + "\n")
    return int(why is not None)


if __name__ == "__main__":
    sys.exit(main())
