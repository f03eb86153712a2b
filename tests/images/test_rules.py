"""What a registry, or whoever owns its name, may not make the platform do. Registries here are scripted."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.domain.images import ImageSource
from cmbcluster.errors import CMBClusterError, RegistryUnavailable
from cmbcluster.images import manifests
from cmbcluster.images.addresses import is_possible, is_public
from cmbcluster.images.port import (
    Credentials,
    ImageFailed,
    ImageNotAllowed,
    ImageNotFound,
    NotAnImage,
    RegistryBusy,
    RegistryRefused,
    WrongPlatform,
)
from cmbcluster.images.registry import HUB_API, MANIFEST_LIMIT_BYTES, RegistryResolver
from cmbcluster.images.wire import Place, Wire

OPEN = "93.184.216.34"
OTHER = "8.8.8.8"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = json.dumps({"os": "linux", "architecture": "amd64"}).encode()
CONFIG_DIGEST = "sha256:" + hashlib.sha256(CONFIG).hexdigest()
MANIFEST: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": CONFIG_DIGEST, "size": 100},
    "layers": [{"digest": "sha256:" + "b" * 64, "size": 900}],
}
BODY = json.dumps(MANIFEST).encode()
BODY_DIGEST = "sha256:" + hashlib.sha256(BODY).hexdigest()
SOURCE = ImageSource("registry.example.org/team/app:1.0")
ACCOUNT = Credentials("registry.example.org", "alice", "the-secret-word")
Answering = Callable[[httpx.Request], httpx.Response]


def manifest_answer(body: bytes = BODY, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(200, content=body, headers={"Content-Type": MANIFEST["mediaType"], **(headers or {})})


def well_behaved(request: httpx.Request) -> httpx.Response:
    if "/blobs/" in request.url.path:
        return httpx.Response(200, content=CONFIG)
    return manifest_answer()


@dataclass
class Scripted:
    """A resolver whose every question is answered by ``answering``, over addresses of ours."""

    answering: Answering = well_behaved
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    asked: list[httpx.Request] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def resolver(self, **more: Any) -> RegistryResolver:
        token_hosts = more.pop("token_hosts", ())
        wire = Wire(lookup=self._lookup, transport=httpx.MockTransport(self._answer), **more)
        return RegistryResolver(wire, token_hosts=token_hosts, answer_seconds=0.5)

    async def resolve(self, source: ImageSource = SOURCE, credentials: Credentials | None = None, **more: Any) -> Any:
        return await self.resolver(**more).resolve(source, credentials)

    async def _lookup(self, host: str, port: int) -> tuple[str, ...]:
        self.looked_up.append(host)
        return self.addresses.get(host, (OPEN,))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        await asyncio.sleep(self.seconds)
        said = self.answering(request)
        # As from a wire: not read yet.
        return httpx.Response(said.status_code, headers=said.headers.raw, stream=httpx.ByteStream(said.content))

    @property
    def secrets_went_to(self) -> set[str]:
        secret = ACCOUNT.basic
        return {each.headers["host"] for each in self.asked if each.headers.get("authorization") == secret}


async def test_a_good_answer() -> None:
    scripted = Scripted()
    found = await scripted.resolve()
    assert (found.address, found.size_bytes) == (f"registry.example.org/team/app@{BODY_DIGEST}", 1000)
    first = scripted.asked[0]
    assert (first.url.scheme, first.url.host, first.url.port) == ("https", OPEN, None)
    assert first.headers["host"] == "registry.example.org"
    assert first.extensions["sni_hostname"] == "registry.example.org"


async def test_docker_hub_is_asked_at_its_own_place() -> None:
    scripted = Scripted()
    found = await scripted.resolve(ImageSource("docker.io/library/python:3"))
    assert scripted.looked_up[0] == HUB_API
    assert found.repository == "docker.io/library/python"


# ---- addresses ----

REFUSED = [
    "127.0.0.1", "127.9.9.9", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "100.100.100.200", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255", "fe80::1",
    "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:1::1",
    "192.0.2.1", "198.18.0.1", "168.63.129.16", "192.0.0.192", "fec0::1", "not an address", "",
]  # fmt: skip
NEVER = [
    "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "100.100.100.200",
    "168.63.129.16", "::ffff:168.63.129.16", "192.0.0.192",
    "fd00:ec2::254", "0.0.0.0", "224.0.0.1", "fe80::1", "fe80::1%eth0", "not an address",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
async def test_names_that_lead_inside_are_refused_before_anything_is_sent(address: str) -> None:
    assert not is_public(address)
    for addresses in ((address,), (OPEN, address)):
        scripted = Scripted(addresses={"registry.example.org": addresses})
        with pytest.raises(RegistryRefused, match="does not lead to an address on the internet"):
            await scripted.resolve(credentials=ACCOUNT)
        assert scripted.asked == []


@pytest.mark.parametrize("address", NEVER)
async def test_an_internal_registry_is_still_no_metadata_service(address: str) -> None:
    assert not is_possible(address)
    scripted = Scripted(addresses={"registry.example.org": (address,)})
    with pytest.raises(RegistryRefused):
        await scripted.resolve(internal=["registry.example.org"])
    assert scripted.asked == []


async def test_an_internal_registry_may_be_private_and_only_that_one() -> None:
    scripted = Scripted(addresses={"registry.example.org": ("10.1.2.3",), "other.example.org": ("10.1.2.3",)})
    assert await scripted.resolve(internal=["registry.example.org"])
    with pytest.raises(RegistryRefused):
        await scripted.resolve(ImageSource("other.example.org/x:1"), internal=["registry.example.org"])
    with pytest.raises(RegistryRefused):
        await scripted.resolve(ImageSource("registry.example.org:8443/x:1"), internal=["registry.example.org"])


async def test_a_name_that_changes_its_mind_changes_nothing() -> None:
    """DNS rebinding: every question has one look-up, and goes to the address that was judged."""
    answers = [(OPEN,), ("127.0.0.1",)]
    scripted = Scripted()

    async def lookup(host: str, port: int) -> tuple[str, ...]:
        scripted.looked_up.append(host)
        return answers[min(len(scripted.looked_up) - 1, 1)]

    wire = Wire(lookup=lookup, transport=httpx.MockTransport(scripted._answer))
    await wire.get(Place("registry.example.org", "/v2/"), {}, 1000)
    assert scripted.looked_up == ["registry.example.org"]
    assert [each.url.host for each in scripted.asked] == [OPEN]
    with pytest.raises(RegistryRefused):
        await wire.get(Place("registry.example.org", "/v2/"), {}, 1000)
    assert len(scripted.asked) == 1


async def test_another_address_is_tried_when_one_is_away() -> None:
    def answering(request: httpx.Request) -> httpx.Response:
        if request.url.host == OPEN:
            raise httpx.ConnectError("away")
        return well_behaved(request)

    scripted = Scripted(answering, addresses={"registry.example.org": (OPEN, OTHER)})
    assert await scripted.resolve()


async def test_there_is_no_such_host() -> None:
    async def lookup(host: str, port: int) -> tuple[str, ...]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(ImageFailed, match=r"There is no registry called registry\.example\.org"):
        await RegistryResolver(Wire(lookup=lookup)).resolve(SOURCE, None)


async def test_the_look_up_fails_for_now() -> None:
    async def lookup(host: str, port: int) -> tuple[str, ...]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    with pytest.raises(RegistryUnavailable):
        await RegistryResolver(Wire(lookup=lookup)).resolve(SOURCE, None)


# ---- credentials ----


def challenging(realm: str, given: str = "a-token") -> Answering:
    def answering(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"token": given})
        if request.headers.get("authorization") != f"Bearer {given}":
            challenge = f'Bearer realm="{realm}",service="it",scope="repository:team/app:pull,push,delete"'
            return httpx.Response(401, headers={"WWW-Authenticate": challenge})
        return well_behaved(request)

    return answering


async def test_a_token_is_asked_for_this_repository_and_for_pulling_alone() -> None:
    scripted = Scripted(challenging("https://auth.example.org/token"))
    assert await scripted.resolve(credentials=ACCOUNT, token_hosts=["auth.example.org"])
    asked = next(each for each in scripted.asked if each.url.path == "/token")
    assert dict(asked.url.params) == {"service": "it", "scope": "repository:team/app:pull"}
    assert scripted.secrets_went_to == {"auth.example.org"}


async def test_the_registry_may_be_its_own_token_service() -> None:
    scripted = Scripted(challenging("https://registry.example.org/token"))
    assert await scripted.resolve(credentials=ACCOUNT)
    assert scripted.secrets_went_to == {"registry.example.org"}


@pytest.mark.parametrize(
    "realm",
    [
        "https://evil.example.com/token",
        "http://registry.example.org/token",
        "https://registry.example.org:8443/token",
        "https://registry.example.org@evil.example.com/token",
        "https://auth.example.org.evil.example.com/token",
        "https://169.254.169.254/token",
        "https://[::1]/token",
        "file:///etc/passwd",
        "//evil.example.com/token",
        "",
    ],
)
async def test_a_token_service_elsewhere_gets_nothing(realm: str) -> None:
    scripted = Scripted(challenging(realm))
    for credentials in (ACCOUNT, None):
        with pytest.raises(RegistryRefused, match="not trusted here"):
            await scripted.resolve(credentials=credentials, token_hosts=["auth.example.org"])
    assert {each.headers["host"] for each in scripted.asked} == {"registry.example.org"}
    assert scripted.secrets_went_to == set()


async def test_a_listed_token_service_inside_is_refused_as_well() -> None:
    scripted = Scripted(challenging("https://auth.example.org/token"), addresses={"auth.example.org": ("10.0.0.1",)})
    with pytest.raises(RegistryRefused, match=r"auth\.example\.org does not lead"):
        await scripted.resolve(credentials=ACCOUNT, token_hosts=["auth.example.org"])
    assert scripted.secrets_went_to == set()


async def test_credentials_of_another_registry_are_never_used() -> None:
    with pytest.raises(ValueError, match="another registry"):
        await Scripted().resolve(ImageSource("other.example.org/x:1"), ACCOUNT)


async def test_nothing_is_sent_before_it_is_asked_for() -> None:
    scripted = Scripted()
    await scripted.resolve(credentials=ACCOUNT)
    assert not any("authorization" in each.headers for each in scripted.asked)


@pytest.mark.parametrize("token", ["", "two words", "new\nline", "ünicode"])
async def test_a_token_that_cannot_be_one(token: str) -> None:
    scripted = Scripted(challenging("https://registry.example.org/token", token))
    with pytest.raises(RegistryUnavailable, match="gave no token"):
        await scripted.resolve()


async def test_the_secret_is_in_no_text() -> None:
    assert "the-secret-word" not in repr(ACCOUNT)
    assert json.loads(ACCOUNT.pull_config())["auths"]["registry.example.org"]["password"] == "the-secret-word"
    hub = Credentials("docker.io", "alice", "x")
    assert list(json.loads(hub.pull_config())["auths"]) == ["https://index.docker.io/v1/"]
    assert base64.b64decode(ACCOUNT.basic.removeprefix("Basic ")) == b"alice:the-secret-word"


# ---- redirects ----


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_manifest_elsewhere_is_not_followed(status: int) -> None:
    scripted = Scripted(lambda request: httpx.Response(status, headers={"Location": "https://other.example.org/"}))
    with pytest.raises(RegistryRefused, match="not followed"):
        await scripted.resolve()
    assert {each.headers["host"] for each in scripted.asked} == {"registry.example.org"}


def storing(location: str, config: bytes = CONFIG) -> Answering:
    def answering(request: httpx.Request) -> httpx.Response:
        if request.headers["host"] != "registry.example.org":
            return httpx.Response(200, content=config)
        if "/blobs/" in request.url.path:
            return httpx.Response(307, headers={b"Location": location.encode()})
        if "authorization" not in request.headers:
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return manifest_answer()

    return answering


async def test_a_blob_elsewhere_is_read_there_without_credentials() -> None:
    arm = json.dumps({"os": "linux", "architecture": "arm64"}).encode()
    document = {**MANIFEST, "config": {**MANIFEST["config"], "digest": manifests.digest_of(arm)}}
    answering = storing("https://storage.example.net/x?sig=1", arm)

    def with_arm(request: httpx.Request) -> httpx.Response:
        answer = answering(request)
        is_manifest = "/manifests/" in request.url.path and answer.is_success
        return manifest_answer(json.dumps(document).encode()) if is_manifest else answer

    scripted = Scripted(with_arm)
    with pytest.raises(WrongPlatform, match="only for linux/arm64"):
        await scripted.resolve(credentials=ACCOUNT)
    assert scripted.secrets_went_to == {"registry.example.org"}


@pytest.mark.parametrize(
    "location",
    [
        "http://storage.example.net/x", "https://inside.example.net/x", "gopher://x/", "https://[::1]/x", "https://[",
        "https://stör.example.net/x", "https://storage.example.net/\x01", "https://storage.example.net:x/",
        "https://storage.example.net/?\x7f",
    ],
)  # fmt: skip
async def test_a_blob_that_is_nowhere_good_is_left_where_it_is(location: str) -> None:
    scripted = Scripted(storing(location), addresses={"inside.example.net": ("10.0.0.1",)})
    assert await scripted.resolve(credentials=ACCOUNT)
    assert {each.headers["host"] for each in scripted.asked} == {"registry.example.org"}


# ---- what answers may be ----


async def test_the_digest_is_that_of_the_bytes() -> None:
    scripted = Scripted(lambda request: manifest_answer(headers={"Docker-Content-Digest": "sha256:" + "0" * 64}))
    with pytest.raises(NotAnImage, match="not what it says"):
        await scripted.resolve()
    with pytest.raises(NotAnImage, match="not what it says"):
        await Scripted().resolve(ImageSource("registry.example.org/team/app@sha256:" + "0" * 64))
    assert (await Scripted().resolve(ImageSource(f"registry.example.org/team/app@{BODY_DIGEST}"))).digest == BODY_DIGEST


async def test_an_endless_answer_is_cut() -> None:
    scripted = Scripted(lambda request: manifest_answer(b" " * (MANIFEST_LIMIT_BYTES + 1)))
    with pytest.raises(NotAnImage, match="too large"):
        await scripted.resolve()


async def test_a_slow_registry_is_given_up() -> None:
    with pytest.raises(RegistryUnavailable, match="takes longer than 0.5 s"):
        await Scripted(seconds=2).resolve()


@pytest.mark.parametrize(
    ("status", "headers", "kind", "said"),
    [
        (403, {}, ImageNotAllowed, "does not let us see team/app"),
        (401, {}, ImageNotAllowed, "does not let us see team/app"),
        (401, {"WWW-Authenticate": "Negotiate"}, ImageNotAllowed, "does not let us see team/app"),
        (404, {}, ImageNotFound, r"has no team/app:1\.0"),
        (429, {"Retry-After": "300"}, RegistryBusy, "Try again in 5 min"),
        (429, {"Retry-After": "30"}, RegistryBusy, "Try again in 30 s"),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, RegistryBusy, "Try again later"),
        (429, {"Retry-After": "٣"}, RegistryBusy, "Try again later"),
        (429, {}, RegistryBusy, "Try again later"),
        (400, {}, ImageFailed, "does not understand"),
        (500, {}, RegistryUnavailable, "answered 500"),
        (503, {}, RegistryUnavailable, "answered 503"),
    ],
)
async def test_every_refusal_is_a_sentence(
    status: int, headers: dict[str, str], kind: type[CMBClusterError], said: str
) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    with pytest.raises(kind, match=said) as refused:
        await Scripted(lambda request: httpx.Response(status, headers=raw)).resolve()
    if isinstance(refused.value, ImageFailed):
        assert refused.value.then.endswith(".")


@pytest.mark.parametrize(
    "document",
    [
        {**MANIFEST, "config": {**MANIFEST["config"], "mediaType": "application/vnd.cncf.helm.config.v1+json"}},
        {**MANIFEST, "mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws"},
        {**MANIFEST, "schemaVersion": 1},
        {**MANIFEST, "layers": []},
        {**MANIFEST, "layers": [{"size": -1}]},
        {**MANIFEST, "layers": [{"size": True}]},
        {**MANIFEST, "layers": [{"size": 2**60}]},
        {**MANIFEST, "layers": [{"size": 1}] * 1001},
        {**MANIFEST, "layers": "many"},
        {**MANIFEST, "config": {**MANIFEST["config"], "digest": "../../etc"}},
        {**MANIFEST, "config": None},
        {"mediaType": INDEX, "manifests": []},
        {"mediaType": INDEX, "manifests": [{"platform": {"os": "unknown", "architecture": "unknown"}}]},
        {"mediaType": "text/html"},
        [],
    ],
    ids=str,
)  # fmt: skip
async def test_what_cannot_be_run(document: Any) -> None:
    body = json.dumps(document).encode()
    with pytest.raises(NotAnImage):
        await Scripted(lambda request: manifest_answer(body)).resolve()


async def test_an_index_in_an_index_ends() -> None:
    inner = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"digest": BODY_DIGEST, "platform": {"os": "linux", "architecture": "amd64"}}],
    }
    body = json.dumps(inner).encode()
    outer = {**inner, "manifests": [{**inner["manifests"][0], "digest": manifests.digest_of(body)}]}  # type: ignore[dict-item]

    def answering(request: httpx.Request) -> httpx.Response:
        return manifest_answer(json.dumps(outer).encode() if request.url.path.endswith("1.0") else body)

    with pytest.raises(NotAnImage):
        await Scripted(answering).resolve()


FIELDS = ["config", "layers", "size", "digest", "mediaType", "manifests", "platform", "os", "schemaVersion"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(FIELDS),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.one_of(st.binary(max_size=300), JSON.map(lambda found: json.dumps(found).encode()), st.just(b"[" * 200_000)))
def test_any_answer_is_an_image_or_an_error_of_ours(body: bytes) -> None:
    try:
        document = manifests.document_of(body)
        kind = manifests.kind_of("application/vnd.oci.image.manifest.v1+json", document)
        manifests.chosen(document, manifests.Platform.of("linux/amd64"))
        manifests.manifest_of(kind, document)
    except ImageFailed:
        pass
