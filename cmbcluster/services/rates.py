"""How often somebody may do what costs us something or guesses at secrets.

Counts are kept in one store that all replicas share; embedded, that is this process's memory.
While a shared store does not answer, each replica counts by itself and allows half as much, so
that taking the store away opens nothing. Must never decide who somebody is or what they may see.
"""

from __future__ import annotations

import ipaddress
import math
import time
from enum import StrEnum

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from cmbcluster.domain.actors import Actor
from cmbcluster.errors import TooManyRequests
from cmbcluster.settings import Settings

logger = structlog.get_logger(__name__)


class Limited(StrEnum):
    """What is counted, and for whom."""

    SIGN_IN = "sign_in"  # an address
    CALLBACK = "callback"  # an address
    WRONG_TOKEN = "wrong_token"  # noqa: S105 - an address that presents tokens that open nothing
    REPORT = "report"  # an address, whose pages say that they failed
    SOCKET = "socket"  # an address that opens pages
    OPEN = "open"  # a session
    LAUNCH = "launch"  # a person
    MAKE_TOKEN = "make_token"  # noqa: S105 - a person
    ENTER_ACCOUNT = "enter_account"  # a person
    API = "api"  # a person
    SHARE = "share"  # a person


_BY_ADDRESS = frozenset({Limited.SIGN_IN, Limited.CALLBACK, Limited.WRONG_TOKEN, Limited.REPORT, Limited.SOCKET})
_RATES: dict[Limited, str] = {
    Limited.CALLBACK: "60/minute",
    Limited.WRONG_TOKEN: "30/minute",
    Limited.REPORT: "20/minute",
    Limited.OPEN: "60/minute",
    Limited.LAUNCH: "60/minute",
    Limited.MAKE_TOKEN: "20/hour",
    Limited.ENTER_ACCOUNT: "60/hour",
    # Each try tells whether an address or a name has an account.
    Limited.SHARE: "30/hour",
}


# While the store is away, one request in this time finds out whether it is back; the others do not wait for it.
ASK_AGAIN_SECONDS = 2.0
# Each replica counts by itself then, and what it counted is forgotten when the store is back.
ALONE_SHARE = 2


class RateService:
    """Counts and refuses. One for each process; ``shared``: the store of all replicas, if there is one."""

    def __init__(self, settings: Settings, shared: Storage | None = None) -> None:
        self._here = MovingWindowRateLimiter(MemoryStorage())
        self._shared = MovingWindowRateLimiter(shared) if shared is not None else None
        self._ask_at: float | None = None  # monotonic seconds; None while the store answers
        rates = _RATES | {
            Limited.SIGN_IN: f"{settings.sign_ins_per_minute}/minute",
            Limited.SOCKET: f"{settings.sockets_per_minute}/minute",
            Limited.API: f"{settings.api_requests_per_minute}/minute",
        }
        self._rates: dict[Limited, list[RateLimitItem]] = {what: parse_many(text) for what, text in rates.items()}

    async def check(self, actor: Actor, what: Limited) -> None:
        """Count one more; raises TooManyRequests, with the time to wait, when it is one too many."""
        who = str(actor.session_id or actor.user_id or actor.address)
        if what in _BY_ADDRESS:
            who = network_of(actor.address)
        elif what in (Limited.LAUNCH, Limited.MAKE_TOKEN, Limited.API, Limited.SHARE):
            who = str(actor.user_id or actor.address)
        for rate in self._rates[what]:
            reset_at = await self._count(rate, what, who)
            if reset_at is not None:
                logger.warning("too many requests", kind="denied", what=what, address=actor.address)
                raise TooManyRequests(max(1, math.ceil(reset_at - time.time())))

    async def _count(self, rate: RateLimitItem, what: Limited, who: str) -> float | None:
        """Count one more; None, or when there is room again (seconds since the epoch)."""
        if self._shared is None:
            return await _hit(self._here, rate, what, who)
        if self._ask_at is None or self._ask_at <= time.monotonic():
            if self._ask_at is not None:
                self._ask_at = time.monotonic() + ASK_AGAIN_SECONDS
            try:
                reset_at = await _hit(self._shared, rate, what, who)
            except StorageError as failed:
                self._note_away(failed)
            else:
                self._note_back()
                return reset_at
        return await _hit(self._here, _alone(rate), what, who)

    def _note_away(self, failed: StorageError) -> None:
        if self._ask_at is None:
            logger.warning(
                "the shared store of counts does not answer; this replica counts alone and allows half as much",
                error=str(failed.storage_error),
            )
        self._ask_at = time.monotonic() + ASK_AGAIN_SECONDS

    def _note_back(self) -> None:
        if self._ask_at is not None:
            self._ask_at = None
            logger.info("the shared store of counts answers again")


async def _hit(window: MovingWindowRateLimiter, rate: RateLimitItem, what: Limited, who: str) -> float | None:
    if await window.hit(rate, what, who):
        return None
    return (await window.get_window_stats(rate, what, who)).reset_time


def _alone(rate: RateLimitItem) -> RateLimitItem:
    """Half of a rate, and at least one."""
    return type(rate)(max(1, rate.amount // ALONE_SHARE), rate.multiples, rate.namespace)


def network_of(address: str) -> str:
    """Whose address it is: of IPv6, everybody has a whole network of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
