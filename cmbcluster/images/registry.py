"""Registries, by the protocol that all of them speak: from a tag to a digest and a size.

https://github.com/opencontainers/distribution-spec says how. Nothing is pulled but a few
kilobytes of description. Credentials go to the registry they belong to and to the token
service it names, if that is the registry itself or one that the operator listed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode, urljoin

import structlog

from cmbcluster.domain.images import DOCKER_HUB, ImageSource, PinnedImage
from cmbcluster.errors import CMBClusterError, RegistryUnavailable
from cmbcluster.images import manifests
from cmbcluster.images.manifests import Platform
from cmbcluster.images.port import (
    Credentials,
    ImageFailed,
    ImageNotAllowed,
    ImageNotFound,
    NotAnImage,
    RegistryBusy,
    RegistryRefused,
)
from cmbcluster.images.wire import Answer, Place, Wire

log = structlog.get_logger("cmbcluster.images")

ANSWER_SECONDS = 10.0
MANIFEST_LIMIT_BYTES = 4 * 1024**2
TOKEN_LIMIT_BYTES = 256 * 1024
HUB_API = "registry-1.docker.io"
LONGEST_WAIT_SECONDS = 24 * 3600
_FIELDS = re.compile(r'(\w+)\s*=\s*"([^"]*)"')
_TOKEN = re.compile(r"[\x21-\x7e]{1,100000}")


@dataclass
class _Talk:
    """One resolution: whom it is with, and what opens the door once that is known."""

    source: ImageSource
    credentials: Credentials | None
    authorization: str = field(default="", repr=False)

    @property
    def host(self) -> str:
        return HUB_API if self.source.registry == DOCKER_HUB else self.source.registry


class RegistryResolver:
    """ImageResolver over HTTP. ``token_hosts``: token services besides the registries themselves."""

    def __init__(
        self,
        wire: Wire,
        *,
        platform: str = "linux/amd64",
        token_hosts: Iterable[str] = (),
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._wire = wire
        self._platform = Platform.of(platform)
        self._token_hosts = frozenset(token_hosts)
        self._answer_seconds = answer_seconds

    async def resolve(self, source: ImageSource, credentials: Credentials | None) -> PinnedImage:
        """What the reference stands for now."""
        if credentials is not None and credentials.registry != source.registry:
            raise ValueError("these credentials belong to another registry")
        try:
            async with asyncio.timeout(self._answer_seconds):
                return await self._resolve(_Talk(source, credentials))
        except TimeoutError as slow:
            raise RegistryUnavailable(f"{source.registry} takes longer than {self._answer_seconds:g} s") from slow

    async def _resolve(self, talk: _Talk) -> PinnedImage:
        source = talk.source
        digest, kind, document = await self._manifest(talk, source.digest or source.tag)
        if kind in manifests.INDEXES:
            chosen = manifests.chosen(document, self._platform)
            _, kind, document = await self._manifest(talk, chosen)
            image = manifests.manifest_of(kind, document)
        else:
            image = manifests.manifest_of(kind, document)
            await self._check_platform(talk, image.config_digest)
        return PinnedImage(source.repository, digest, image.size_bytes)

    async def _manifest(self, talk: _Talk, reference: str) -> tuple[str, str, Mapping[str, object]]:
        """Digest, media type and document of a manifest or an index; the digest is that of the bytes."""
        answer = await self._ask(talk, f"manifests/{reference}", {"Accept": manifests.ACCEPT})
        digest = manifests.digest_of(answer.body)
        said = answer.headers.get("docker-content-digest", digest)
        if said.startswith("sha256:") and said != digest or ":" in reference and reference != digest:
            raise NotAnImage(
                f"What {talk.source.registry} sent is not what it says it is.", "Try again; if it stays so, ask there."
            )
        document = manifests.document_of(answer.body)
        return digest, manifests.kind_of(answer.headers.get("content-type", ""), document), document

    async def _check_platform(self, talk: _Talk, config_digest: str) -> None:
        """Raise WrongPlatform when the image's own configuration is for another platform.

        It is kept as a blob, which registries may hand out from elsewhere. When it cannot be
        had, the nodes will tell; that is no reason to refuse an image.
        """
        try:
            body = await self._blob(talk, config_digest)
            found = manifests.platform_of(manifests.document_of(body))
        except CMBClusterError as unknown:
            log.info("image_platform_unknown", registry=talk.source.registry, error=str(unknown)[:200])
            return
        if found is not None and found != self._platform:
            raise manifests.wrong_platform(self._platform, [str(found)])

    async def _blob(self, talk: _Talk, digest: str) -> bytes:
        """A small blob, from where the registry keeps it: one step aside, and without credentials there."""
        place = Place(talk.host, f"/v2/{talk.source.path}/blobs/{digest}")
        answer = await self._wire.get(place, _headers(talk, {}), MANIFEST_LIMIT_BYTES)
        if answer.status in (301, 302, 303, 307, 308):
            elsewhere = self._elsewhere(place, answer.headers.get("location", ""))
            if elsewhere is None:
                raise RegistryUnavailable(f"{talk.source.registry} sends us nowhere")
            answer = await self._wire.get(elsewhere, {}, MANIFEST_LIMIT_BYTES)
        if answer.status != 200 or manifests.digest_of(answer.body) != digest:
            raise RegistryUnavailable(f"{talk.source.registry} answered {answer.status} for a blob")
        return answer.body

    def _elsewhere(self, place: Place, location: str) -> Place | None:
        """Where a redirect from a place leads; None unless we may ask there at all."""
        scheme = "http" if place.host in self._wire.plain else "https"
        try:
            return Place.of_url(urljoin(f"{scheme}://{place.host}{place.target}", location), self._wire.plain)
        except ValueError:
            return None

    # ---- one question ----

    async def _ask(self, talk: _Talk, what: str, headers: Mapping[str, str]) -> Answer:
        """A good answer; signs in when the registry wants that, and raises what is wrong otherwise."""
        place = Place(talk.host, f"/v2/{talk.source.path}/{what}")
        answer = await self._wire.get(place, _headers(talk, headers), MANIFEST_LIMIT_BYTES)
        if answer.status == 401 and not talk.authorization:
            talk.authorization = await self._authorization(talk, answer.headers.get("www-authenticate", ""))
            if talk.authorization:
                answer = await self._wire.get(place, _headers(talk, headers), MANIFEST_LIMIT_BYTES)
        if answer.status != 200:
            raise _problem(talk, answer)
        return answer

    async def _authorization(self, talk: _Talk, challenge: str) -> str:
        """What to send so that the registry opens, or empty when there is nothing to send."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return talk.credentials.basic if talk.credentials else ""
        if scheme.lower() != "bearer":
            return ""
        fields = dict(_FIELDS.findall(rest))
        realm = Place.of_url(fields.get("realm", ""), self._wire.plain)
        if realm is None or (realm.host != talk.host and realm.host not in self._token_hosts):
            log.warning("registry_realm_refused", registry=talk.source.registry, realm=realm.host if realm else "")
            raise RegistryRefused(
                f"{talk.source.registry} wants us to sign in at a place that is not trusted here.",
                "Ask whoever runs the platform to list its token service.",
            )
        # We ask to pull this one repository, whatever the challenge offers.
        query = {"scope": f"repository:{talk.source.path}:pull"}
        if fields.get("service"):
            query["service"] = fields["service"][:200]
        joined = "&" if "?" in realm.target else "?"
        asked = Place(realm.host, realm.target + joined + urlencode(query))
        headers = {"Authorization": talk.credentials.basic} if talk.credentials else {}
        return await self._token(talk, asked, headers)

    async def _token(self, talk: _Talk, asked: Place, headers: Mapping[str, str]) -> str:
        answer = await self._wire.get(asked, headers, TOKEN_LIMIT_BYTES)
        if answer.status != 200:
            # A token service that knows nothing of the account answers like one that refuses it.
            raise _not_allowed(talk) if answer.status in (400, 401, 403, 404) else _problem(talk, answer)
        found = manifests.document_of(answer.body)
        token = found.get("token") or found.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise RegistryUnavailable(f"{asked.host} gave no token")
        return f"Bearer {token}"


def _headers(talk: _Talk, more: Mapping[str, str]) -> dict[str, str]:
    return {**more, "Authorization": talk.authorization} if talk.authorization else dict(more)


def _problem(talk: _Talk, answer: Answer) -> CMBClusterError:
    """The error for an answer that is not good."""
    source, status = talk.source, answer.status
    if status in (401, 403):
        return _not_allowed(talk)
    if status == 404:
        named = source.digest or f"{source.path}:{source.tag}"
        return ImageNotFound(f"{source.registry} has no {named}.", "Check its name and its tag.")
    if status == 429:
        wait = _wait_words(answer.headers.get("retry-after", ""), datetime.now(UTC))
        return RegistryBusy(
            f"{source.registry} takes no more requests from here at the moment.",
            f"Try again {wait}. With an account of yours under Settings, Registries, it takes more.",
        )
    if 300 <= status < 400:
        return RegistryRefused(
            f"{source.registry} sends us to another address, which is not followed.", "Name that registry instead."
        )
    if status >= 500:
        return RegistryUnavailable(f"{source.registry} answered {status}")
    return ImageFailed(f"{source.registry} does not understand this name.", "Check it, then try again.")


def _not_allowed(talk: _Talk) -> ImageNotAllowed:
    """The same words whether the image is missing or closed: registries do not say which."""
    source = talk.source
    then = (
        f"Check its name, and the account for {source.registry} under Settings, Registries."
        if talk.credentials
        else "Check its name. If it is private, add your account under Settings, Registries."
    )
    return ImageNotAllowed(f"{source.registry} does not let us see {source.path}.", then)


def _wait_words(retry_after: str, now: datetime) -> str:
    """``Retry-After`` is a number of seconds or a date."""
    seconds = 0
    if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 10:
        seconds = int(retry_after)
    elif retry_after:
        try:
            seconds = int((parsedate_to_datetime(retry_after) - now).total_seconds())
        except (TypeError, ValueError):
            seconds = 0
    if not 0 < seconds <= LONGEST_WAIT_SECONDS:
        return "later"
    return f"in {seconds} s" if seconds < 120 else f"in {-(-seconds // 60)} min"
