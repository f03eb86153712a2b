"""The fake, and the adapter over real registries of both kinds, keep the contract."""

from __future__ import annotations

import pytest

from cmbcluster.domain.images import ImageSource
from cmbcluster.errors import RegistryUnavailable
from cmbcluster.images.port import Credentials, RegistryRefused
from cmbcluster.images.registry import RegistryResolver
from cmbcluster.images.wire import Wire
from tests.fakes.images import FakeImages
from tests.images.image_contract import ImageContract, Place
from tests.images.pushing import Pusher
from tests.images.registries import PASSWORD, USERNAME, Served, free_port


class _Fake:
    def __init__(self, images: FakeImages, host: str) -> None:
        self._images, self._host = images, host

    def image(self, path: str, tag: str, text: str, architectures: tuple[str, ...]) -> None:
        self._images.put(f"{self._host}/{path}:{tag}", text, tuple(f"linux/{each}" for each in architectures))

    def chart(self, path: str, tag: str) -> None:
        self._images.put(f"{self._host}/{path}:{tag}", "chart", ())


class _Real:
    def __init__(self, served: Served) -> None:
        self._pusher = Pusher(served.url)

    def image(self, path: str, tag: str, text: str, architectures: tuple[str, ...]) -> None:
        if len(architectures) == 1:
            self._pusher.image(path, tag, text=text, architecture=architectures[0])
        else:
            self._pusher.index(path, tag, architectures, text)

    def chart(self, path: str, tag: str) -> None:
        self._pusher.chart(path, tag)


def resolver_for(served: Served) -> RegistryResolver:
    """A resolver whose operator listed the registry, and its token service, as internal and without TLS."""
    hosts = [host for host in (served.host, served.token_host) if host]
    return RegistryResolver(Wire(internal=hosts, plain=hosts), token_hosts=hosts)


def place_of(served: Served) -> Place:
    return Place(resolver_for(served), _Real(served), served.host, Credentials(served.host, USERNAME, PASSWORD))


class TestFakeImages(ImageContract):
    @pytest.fixture
    def place(self) -> Place:
        images = FakeImages(strict=True)
        images.private["registry.test"] = ("cmb", "right")
        return Place(
            images, _Fake(images, "registry.test"), "registry.test", Credentials("registry.test", "cmb", "right")
        )


class TestRegistryWithPasswords(ImageContract):
    @pytest.fixture
    def place(self, with_passwords: Served) -> Place:
        return place_of(with_passwords)

    @pytest.mark.parametrize("docker", [True, False])
    async def test_size_and_digest_are_what_was_pushed(self, with_passwords: Served, path: str, docker: bool) -> None:
        place = place_of(with_passwords)
        digest, size_bytes = Pusher(with_passwords.url).image(path, "v1", text="x" * 5000, docker=docker)
        found = await place.resolver.resolve(ImageSource(f"{place.host}/{path}:v1"), place.account)
        assert (found.digest, found.size_bytes) == (digest, size_bytes)

    async def test_an_index_keeps_its_own_digest_and_the_size_of_our_platform(
        self, with_passwords: Served, path: str
    ) -> None:
        place = place_of(with_passwords)
        digest, size_bytes = Pusher(with_passwords.url).index(path, "v1", ("amd64", "arm64"))
        found = await place.resolver.resolve(ImageSource(f"{place.host}/{path}:v1"), place.account)
        assert (found.digest, found.size_bytes) == (digest, size_bytes)


class TestRegistryWithTokens(ImageContract):
    @pytest.fixture
    def place(self, with_tokens: Served) -> Place:
        return place_of(with_tokens)

    async def test_what_is_public_needs_no_account(self, with_tokens: Served) -> None:
        digest, _ = Pusher(with_tokens.url).image("public/app", "v1")
        source = ImageSource(f"{with_tokens.host}/public/app:v1")
        assert (await resolver_for(with_tokens).resolve(source, None)).digest == digest

    async def test_a_token_service_that_nobody_listed_is_not_asked(self, with_tokens: Served) -> None:
        Pusher(with_tokens.url).image("team/app", "v1")
        hosts = [with_tokens.host, with_tokens.token_host]
        resolver = RegistryResolver(Wire(internal=hosts, plain=hosts))
        with pytest.raises(RegistryRefused, match="not trusted"):
            await resolver.resolve(
                ImageSource(f"{with_tokens.host}/team/app:v1"), Credentials(with_tokens.host, USERNAME, PASSWORD)
            )


async def test_a_real_registry_on_this_machine_is_refused_unless_it_is_listed(with_passwords: Served) -> None:
    resolver = RegistryResolver(Wire(plain=[with_passwords.host]))
    with pytest.raises(RegistryRefused, match="does not lead to an address on the internet"):
        await resolver.resolve(ImageSource(f"{with_passwords.host}/team/app:1"), None)


async def test_nobody_listens() -> None:
    host = f"127.0.0.1:{free_port()}"
    resolver = RegistryResolver(Wire(internal=[host], plain=[host]))
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):
        await resolver.resolve(ImageSource(f"{host}/team/app:1"), None)
