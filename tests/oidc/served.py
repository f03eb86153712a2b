"""The real OpenID Connect provider of the tests, and a browser at it.

The provider is a certified one that nobody here wrote; a control address of it makes it
misbehave on purpose.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
CLIENT_ID, CLIENT_SECRET = "cmb", "cmb-secret"
START_SECONDS = 20


@dataclass(frozen=True)
class Secured:
    """What a provider needs that is not on this machine alone: its address, its certificate and who lives there."""

    host: str
    certificate: Path
    key: Path
    accounts: Path


@dataclass
class Served:
    """A provider that runs; ``trust`` is the certificate that it shows, if any."""

    issuer: str
    trust: Path | None = None

    def control(self, method: str, path: str, **body: object) -> dict[str, object]:
        """Ask its control address."""
        verify = True if self.trust is None else ssl.create_default_context(cafile=self.trust)
        url = f"{self.issuer}/_test/{path}"
        answer = httpx.request(method, url, json=body or None, trust_env=False, verify=verify)
        answer.raise_for_status()
        found: dict[str, object] = answer.json()
        return found

    def fault(self, fault: str, **more: object) -> None:
        """Misbehave once."""
        self.control("POST", "faults", fault=fault, **more)

    def hits(self, route: str) -> int:
        """How often a route was asked."""
        return int(str(self.control("GET", "hits").get(route, 0)))

    def forget(self) -> None:
        """No faults, nobody signed in."""
        self.control("DELETE", "faults")
        self.control("DELETE", "hits")
        self.control("POST", "forget")

    async def visit(self, url: str, login: str = "alice", *, cancel: bool = False) -> str:
        """Sign in there as a person does; the address that the browser is sent back to."""
        async with httpx.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(url)
            for _ in range(20):
                if answer.is_redirect:
                    to = urljoin(str(answer.url), answer.headers["location"])
                    if not to.startswith(self.issuer):
                        return to
                    answer = await browser.get(to)
                    continue
                form = re.search(r'<form method="post" action="([^"]+)"', answer.text)
                assert form is not None, answer.text[:600]
                assert answer.status_code < 400, answer.text[:600]
                if cancel:
                    answer = await browser.get(urljoin(self.issuer, form[1].replace("/login", "/cancel")))
                    continue
                fields = {"login": login, "password": f"{login}-pw"} if "password" in answer.text else {}
                answer = await browser.post(urljoin(self.issuer, form[1]), data=fields)
        raise AssertionError("the provider sends the browser round in circles")


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def needed() -> None:
    """Install the provider, or skip with the reason; CI has everything and fails instead."""
    if not os.environ.get("CMB_REQUIRE_ALL") and not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs node and npm: apt-get install nodejs npm")
    done = subprocess.run(
        [str(ROOT / "tools" / "get-oidc-provider"), str(TOOLS)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"the provider could not be installed:\n{done.stdout}{done.stderr}")


@contextmanager
def serve(*redirect_uris: str, secured: Secured | None = None) -> Iterator[Served]:
    """Run a provider that sends browsers back to these addresses; on loopback, or where ``secured`` says."""
    needed()
    port = free_port()
    words = [part for uri in redirect_uris for part in ("--redirect-uri", uri)]
    if secured is not None:
        words += ["--host", secured.host, "--accounts", str(secured.accounts)]
        words += ["--cert", str(secured.certificate), "--key", str(secured.key)]
    process = subprocess.Popen(
        ["node", str(TOOLS / "oidc" / "server.mjs"), "--port", str(port), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    served = Served(f"http://127.0.0.1:{port}")
    if secured is not None:
        served = Served(f"https://{secured.host}:{port}", secured.certificate)
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                served.control("GET", "health")
                break
            except httpx.HTTPError:
                assert process.poll() is None, "the provider ended at once"
                assert time.monotonic() < until, "the provider does not answer"
                time.sleep(0.05)
        yield served
    finally:
        process.terminate()
        process.wait(10)
