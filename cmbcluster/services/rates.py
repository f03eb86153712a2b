"""How often somebody may do what costs us something or guesses at secrets.

Counts are kept in one store that all replicas share; embedded, that is this process's memory.
A store that does not answer lets people in: it protects from floods and is no lock. Must
never decide who somebody is or what they may see.
"""

from __future__ import annotations

import ipaddress
import math
import time
from enum import StrEnum

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

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
    OPEN = "open"  # a session
    LAUNCH = "launch"  # a person
    MAKE_TOKEN = "make_token"  # noqa: S105 - a person
    ENTER_ACCOUNT = "enter_account"  # a person
    API = "api"  # a person
    SHARE = "share"  # a person


_BY_ADDRESS = frozenset({Limited.SIGN_IN, Limited.CALLBACK, Limited.WRONG_TOKEN, Limited.REPORT})
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


class RateService:
    """Counts and refuses. One for each process, over the shared store."""

    def __init__(self, settings: Settings) -> None:
        storage = storage_from_string("async+memory://")
        if not isinstance(storage, Storage):
            raise TypeError("the store of counts must be an asynchronous one")
        self._window = MovingWindowRateLimiter(storage)
        rates = _RATES | {
            Limited.SIGN_IN: f"{settings.sign_ins_per_minute}/minute",
            Limited.API: f"{settings.api_requests_per_minute}/minute",
        }
        self._rates: dict[Limited, list[RateLimitItem]] = {what: parse_many(text) for what, text in rates.items()}

    async def check(self, actor: Actor, what: Limited) -> None:
        """Count one more; raises TooManyRequests, with the time to wait, when it is one too many."""
        who = str(actor.session_id or actor.user_id or actor.address)
        if what in _BY_ADDRESS:
            who = _network(actor.address)
        elif what in (Limited.LAUNCH, Limited.MAKE_TOKEN, Limited.API, Limited.SHARE):
            who = str(actor.user_id or actor.address)
        for rate in self._rates[what]:
            try:
                if await self._window.hit(rate, what, who):
                    continue
                stats = await self._window.get_window_stats(rate, what, who)
            except StorageError:
                logger.warning("counts of requests could not be kept", what=what)
                return
            logger.warning("too many requests", kind="denied", what=what, address=actor.address)
            raise TooManyRequests(max(1, math.ceil(stats.reset_time - time.time())))


def _network(address: str) -> str:
    """Whose address it is: of IPv6, everybody has a whole network of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
