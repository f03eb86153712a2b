"""Real registries of the tests: those that the environment names, or Debian's program started here.

One asks for accounts by itself (basic), one sends people to a token service (bearer).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PROGRAM = "docker-registry"
USERNAME, PASSWORD = "cmb", "cmb-secret"
# The password above, by bcrypt: the only form the registry reads.
HTPASSWD = "cmb:$2y$05$abcdefghijklmnopqrstuuQZ4AaqG5RHvRN77ndnCcTrmqGYlbQXC"
START_SECONDS = 20


@dataclass(frozen=True)
class Served:
    """A registry that runs. ``token_host`` is empty where it has no token service."""

    url: str
    token_host: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port


def program() -> str:
    """The registry's program; skips, or fails where nothing may be skipped."""
    found = shutil.which(PROGRAM)
    if found is None:
        absent = "needs a registry: apt-get install docker-registry, or set CMB_TEST_REGISTRY_URL"
        (pytest.fail if os.environ.get("CMB_REQUIRE_ALL") else pytest.skip)(absent)
    return found or PROGRAM


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def basic_registry(folder: Path) -> Iterator[Served]:
    """A registry with passwords."""
    if url := os.environ.get("CMB_TEST_REGISTRY_URL"):
        yield Served(url)
        return
    (folder / "htpasswd").write_text(HTPASSWD + "\n")
    with _registry(folder, f"  htpasswd: {{realm: tests, path: '{folder / 'htpasswd'}'}}") as url:
        yield Served(url)


@contextmanager
def token_registry(folder: Path) -> Iterator[Served]:
    """A registry with a token service beside it."""
    program()
    with _token_service(folder) as realm:
        auth = f"  token: {{realm: '{realm}', service: tests, issuer: tests, rootcertbundle: '{folder / 'cert.pem'}'}}"
        with _registry(folder, auth) as url:
            yield Served(url, urlsplit(realm).netloc)


@contextmanager
def _registry(folder: Path, auth: str) -> Iterator[str]:
    port = free_port()
    lines = [
        "version: 0.1",
        "log: {level: error, accesslog: {disabled: true}}",
        f"storage: {{filesystem: {{rootdirectory: '{folder / 'data'}'}}, delete: {{enabled: true}}}}",
        f"http: {{addr: '127.0.0.1:{port}', secret: tests}}",
        "auth:",
        auth,
    ]
    (folder / "config.yml").write_text("\n".join(lines) + "\n")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program(), "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _until_it_answers(url, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _until_it_answers(url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/v2/", trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the registry did not start: {log.read_text()[-2000:]}")


# ---- the token service ----


@contextmanager
def _token_service(folder: Path) -> Iterator[str]:
    key, chain = _key_and_certificate(folder)
    app = Starlette(routes=[Route("/token", lambda request: _token(request, key, chain))])
    config = uvicorn.Config(app, host="127.0.0.1", port=free_port(), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{config.port}/token"
    finally:
        server.should_exit = True
        thread.join(10)


def _token(request: Request, key: RSAKey, chain: str) -> Response:
    """``cmb`` may do everything, nobody in particular may pull what begins with ``public/``."""
    given = request.headers.get("authorization", "")
    account = base64.b64decode(given.removeprefix("Basic ")).decode() if given else ""
    if account not in ("", f"{USERNAME}:{PASSWORD}"):
        return Response(status_code=401)
    access = []
    for scope in request.query_params.getlist("scope"):
        kind, name, actions = scope.split(":")
        if account or (name.startswith("public/") and actions == "pull"):
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": "tests",
        "sub": account.partition(":")[0],
        "aud": request.query_params["service"],
        "iat": now,
        "nbf": now - 5,
        "exp": now + 300,
        "jti": str(time.monotonic_ns()),
        "access": access,
    }
    token = jwt.encode({"alg": "RS256", "typ": "JWT", "x5c": [chain]}, claims, key, algorithms=["RS256"])
    return JSONResponse({"token": token, "expires_in": 300})


def _key_and_certificate(folder: Path) -> tuple[RSAKey, str]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    return RSAKey.import_key(pem), base64.b64encode(der).decode()


def docker_config(host: str, username: str = USERNAME, password: str = PASSWORD) -> str:
    """What ``docker login`` writes."""
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth}}})
