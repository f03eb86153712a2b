"""The platform of the browser tests, installed by Helm: two replicas of each role, and a random one killed at times."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from playwright.sync_api import Error as BrowserError

from tests import browsers
from tests.e2e.conftest import Running, free_port, sign_in
from tests.faults.replicas import seeded
from tests.images.registries import Served, basic_registry
from tests.install.forward import forwarded
from tests.install.killer import Killer, killing
from tests.install.people import PROVIDER, provider
from tests.install.release import Addresses, Release, installed
from tests.kubernetes.cluster import wanted
from tests.kubernetes.mirror import mirrored
from tests.postgres import Databases, own_server
from tests.servers.redis import RedisServer

PATIENCE_MILLISECONDS = 30_000
SIGN_IN_TRIES = 3
# What Playwright itself waits.
USUAL_MILLISECONDS = 5_000
playwright = browsers.playwright
browser = browsers.browser


@dataclass
class Installed(Running):
    """The platform on the cluster; ``log`` is what those said that are not there any more."""

    release: Release
    log: Path
    addresses: Addresses
    registry: Served

    def enter(self, page: Page, person: str) -> None:
        """Sign in at the institution's provider."""
        page.get_by_role("button", name=f"Sign in with {PROVIDER}").click()
        page.get_by_label("Login").fill(person.lower())
        page.get_by_label("Password").fill(f"{person.lower()}-pw")
        page.get_by_role("button", name="Sign in", exact=True).click()

    def browser_options(self) -> dict[str, Any]:
        """The browser does not know the institution's certificate."""
        return {"ignore_https_errors": True}

    def said(self) -> str:
        """What all pods have printed, those too that were killed."""
        # In this order: a pod that is gone by now has its words in the file.
        alive = self.release.logs()
        return self.log.read_text() + alive


@pytest.fixture(scope="package", autouse=True)
def patience() -> Iterator[None]:
    """A page comes later where its replica has just been killed and two cores carry a whole cluster."""
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    yield
    expect.set_options(timeout=USUAL_MILLISECONDS)


@pytest.fixture(scope="package")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """``helm install`` on a cluster that has nothing of ours, with a database, a Redis and a provider beside it."""
    node = wanted("CMB_TEST_NODE_ADDRESS")
    folder = tmp_path_factory.mktemp("install")
    url = f"http://localhost:{free_port()}"
    port = urlsplit(url).port
    assert port is not None
    with ExitStack() as stack:
        postgres = stack.enter_context(own_server())
        redis = RedisServer(folder)
        redis.start()
        stack.callback(redis.kill)
        database: str = browsers.apart(Databases(postgres.url).make_empty())
        reached = {inner: _reached(stack, node, inner) for inner in (postgres.port, redis.port)}
        addresses = Addresses(
            public_url=url,
            database=_moved(database, node, reached[postgres.port]),
            redis=_moved(redis.url, node, reached[redis.port]),
            index=stack.enter_context(mirrored(tmp_path_factory.mktemp("mirror"))),
        )
        registry = stack.enter_context(basic_registry(folder))
        addresses = replace(addresses, registry=f"{node}:{_reached(stack, node, registry.port)}")
        people = stack.enter_context(provider(folder, node, url))
        release = stack.enter_context(installed(addresses, people, folder))
        stack.enter_context(forwarded("127.0.0.1", port, *release.edge_address()))
        log = folder / "said-before"
        log.touch()
        yield Installed(url, port, release, log, addresses, registry)


def _reached(stack: ExitStack, node: str, port: int) -> int:
    """A port of the node's address that leads to a server of this machine's own loopback."""
    with socket.create_server((node, 0)) as found:
        outer = int(found.getsockname()[1])
    stack.enter_context(forwarded(node, outer, "127.0.0.1", port))
    return outer


def _moved(url: str, host: str, port: int) -> str:
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}{host}:{port}").geturl()


@pytest.fixture(scope="package")
def chance() -> random.Random:
    """The chance that chooses whom to kill; its seed is printed."""
    return seeded()


@pytest.fixture(scope="package")
def killer(up: Installed, chance: random.Random) -> Iterator[Killer]:
    """A random replica is killed every few seconds."""
    with killing(up.release, chance, up.log) as running:
        yield running


@pytest.fixture(scope="package")
def elena(browser: Browser, up: Installed, killer: Killer) -> Iterator[tuple[BrowserContext, Page]]:
    """Elena, premium, signed in for all tests; who meets a replica that was just killed tries again."""
    for _ in range(SIGN_IN_TRIES - 1):
        with suppress(BrowserError):
            context, page = sign_in(browser, up, "Elena")
            break
    else:
        context, page = sign_in(browser, up, "Elena")
    yield context, page
    context.close()
