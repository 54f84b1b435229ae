"""How long requests wait for a process, by how busy it is.

Mean wait: Allen and Cunneen's approximation for G/G/k (A. O. Allen, Probability, Statistics, and Queueing Theory with
Computer Science Applications, 2nd edition, 1990), with arrivals at random: Wq = C(k, a) x s / (k - a) x (1 + cv2) / 2.
For k = 1 it is Pollaczek's and Khinchine's, which is exact. Tail: who waits at all waits an exponentially distributed
time (J. F. C. Kingman, On Queues in Heavy Traffic, 1962). Neither knows of requests that are computed in one batch: a
gateway does that, so its queue is shorter than said here.
"""

from __future__ import annotations

from math import exp, log

_Z99 = 2.3263478740408408
"""99 of 100 of a normal distribution lie below its mean and so many deviations."""


def waits(servers: int, offered: float) -> float:
    """Return Erlang's C: the probability that a request waits; `offered` is rate x service time. 1 where all do."""
    _expect(servers, offered)
    if offered >= servers:
        return 1.0
    blocked = 1.0
    for n in range(1, servers + 1):  # Erlang's B, from one server to all of them
        blocked = offered * blocked / (n + offered * blocked)
    return blocked / (1.0 - offered / servers * (1.0 - blocked))


def mean_wait(servers: int, offered: float, service: float, cv2: float) -> float:
    """Return the mean wait in the unit of `service`, the mean service time; infinite where more comes than is served.
    `cv2`: squared coefficient of variation of the service time.
    """
    _expect(servers, offered)
    if offered >= servers:
        return float("inf")
    return waits(servers, offered) * service / (servers - offered) * (1.0 + cv2) / 2.0


def wait_below(share: float, servers: int, offered: float, service: float, cv2: float) -> float:
    """Return the wait that a `share` of all requests stays below, in the unit of `service`."""
    if not 0.0 < share < 1.0:
        raise ValueError(f"expected a share between 0 and 1, got {share}")
    some = waits(servers, offered)
    if some <= 1.0 - share:
        return 0.0
    return mean_wait(servers, offered, service, cv2) / some * log(some / (1.0 - share))


def busiest(p99_wait: float, service: float, cv2: float) -> float:
    """Return how busy one process may be, 0 to 1, so that 99 of 100 requests wait less than `p99_wait`. By bisection: a
    wait grows with what comes.
    """
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2.0
        if wait_below(0.99, 1, middle, service, cv2) <= p99_wait:
            low = middle
        else:
            high = middle
    return low


def cv2_of(p50: float, p99: float) -> float:
    """Return the squared coefficient of variation of a lognormal distribution with these percentiles."""
    if not 0.0 < p50 <= p99:
        raise ValueError(f"expected 0 < p50 <= p99, got {p50} and {p99}")
    return exp((log(p99 / p50) / _Z99) ** 2) - 1.0


def _expect(servers: int, offered: float) -> None:
    if servers < 1 or offered < 0.0:
        raise ValueError(f"expected a server or more and a load of 0 or more, got {servers} and {offered}")
