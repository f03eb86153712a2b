"""What a provider publishes about itself: its endpoints and the keys it signs with.

Fetched when first needed and kept for an hour. A key that is not known yet means that the
provider may have changed its keys, so they are fetched again, but never more than once in
a while: a stranger's made-up key id must not turn into requests of ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, RSAKey

from cmbcluster.errors import IdentityUnavailable
from cmbcluster.provider_settings import ProviderSettings, is_safe_url

logger = structlog.get_logger(__name__)

KEEP_SECONDS = 3600
# As long as this, what was fetched last is better than nothing.
STALE_SECONDS = 24 * 3600
FORCED_REFETCH_SECONDS = 60
_REQUIRED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_OPTIONAL = ("userinfo_endpoint",)
# A shared secret is no key that may sign: everybody could have read it here.
_PUBLIC_KEY_TYPES = frozenset({"RSA", "EC"})

Fetch = Callable[[str], Awaitable[Any]]
PublicKey = RSAKey | ECKey


@dataclass
class _Kept:
    value: Any
    at: float  # monotonic seconds


class ProviderDocuments:
    """The discovery document and the key set of one provider."""

    def __init__(self, provider: ProviderSettings, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._provider = provider
        self._fetch = fetch
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._forced_at: float | None = None
        self._turn = asyncio.Lock()

    async def metadata(self) -> Mapping[str, Any]:
        """The discovery document; raises IdentityUnavailable when it is not to be had or wrong."""
        found: Mapping[str, Any] = await self._document("metadata", self._read_metadata)
        return found

    async def keys(self, key_id: str | None) -> tuple[PublicKey, ...]:
        """The keys that may have signed: the one of this id, or all when the provider gives none."""
        kept: Mapping[str, PublicKey] = await self._document("keys", self._read_keys)
        if key_id is not None and key_id not in kept and self._may_force():
            # One of several that wait here fetches; the others find what it brought.
            async with self._turn:
                kept = self._kept["keys"].value
                if key_id not in kept:
                    kept = await self._read_keys()
                    self._kept["keys"] = _Kept(kept, self._clock())
        if key_id is None:
            return tuple(kept.values())
        return (kept[key_id],) if key_id in kept else ()

    def _may_force(self) -> bool:
        now = self._clock()
        if self._forced_at is not None and now - self._forced_at < FORCED_REFETCH_SECONDS:
            return False
        self._forced_at = now
        return True

    async def _document(self, name: str, read: Callable[[], Awaitable[Any]]) -> Any:
        if (kept := self._fresh(name)) is not None:
            return kept.value
        async with self._turn:
            if (kept := self._fresh(name)) is not None:
                return kept.value
            try:
                self._kept[name] = _Kept(await read(), self._clock())
            except IdentityUnavailable:
                kept = self._kept.get(name)
                if kept is None or self._clock() - kept.at > STALE_SECONDS:
                    raise
                logger.warning(
                    "an identity provider does not answer; what it said last is used",
                    provider=self._provider.id,
                    document=name,
                )
            return self._kept[name].value

    def _fresh(self, name: str) -> _Kept | None:
        kept = self._kept.get(name)
        return kept if kept is not None and self._clock() - kept.at < KEEP_SECONDS else None

    async def _read_metadata(self) -> Mapping[str, Any]:
        provider = self._provider
        found = await self._fetch(f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration")
        if not isinstance(found, dict) or found.get("issuer") != provider.issuer:
            # Believing another issuer would let one provider speak for another.
            raise IdentityUnavailable(f"{provider.id}: the discovery document is not that of {provider.issuer}")
        for name in (*_REQUIRED, *_OPTIONAL):
            value = found.get(name)
            if value is None and name in _OPTIONAL:
                continue
            if not isinstance(value, str) or not is_safe_url(value):
                raise IdentityUnavailable(f"{provider.id}: {name} of the discovery document cannot be used")
        return found

    async def _read_keys(self) -> Mapping[str, PublicKey]:
        metadata = self._kept["metadata"].value if "metadata" in self._kept else await self._read_metadata()
        found = await self._fetch(str(metadata["jwks_uri"]))
        listed = found.get("keys") if isinstance(found, dict) else None
        if not isinstance(listed, list):
            raise IdentityUnavailable(f"{self._provider.id}: the key set cannot be read")
        keys: dict[str, PublicKey] = {}
        for number, each in enumerate(listed):
            key = _public_key(each)
            if key is not None:
                keys[str(each.get("kid", f"#{number}"))] = key
        return keys


def _public_key(found: object) -> PublicKey | None:
    """A key for checking signatures; None for anything else that stands in a key set."""
    if not isinstance(found, dict) or found.get("kty") not in _PUBLIC_KEY_TYPES:
        return None
    if found.get("use", "sig") != "sig":
        return None
    try:
        key = JWKRegistry.import_key(found)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, RSAKey | ECKey) else None
