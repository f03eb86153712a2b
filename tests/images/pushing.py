"""A small client that pushes made-up images to a real registry."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import ssl
import tarfile
from typing import Any
from urllib.parse import urljoin

import httpx

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


class Pusher:
    """Pushes to ``url`` as ``account`` (name:password); answers challenges of both kinds."""

    def __init__(self, url: str, account: str = "cmb:cmb-secret") -> None:
        self.url = url
        # Without TLS there is no need for the authorities, whose loading takes longer than all the rest.
        self._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._basic = "Basic " + base64.b64encode(account.encode()).decode()

    def image(
        self, path: str, tag: str, *, text: str = "hello", architecture: str = "amd64", docker: bool = False
    ) -> tuple[str, int]:
        """Push an image for one platform; its digest, and the size of configuration and layer."""
        layer = self._blob(path, _layer(text))
        told = {"architecture": architecture, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
        config = self._blob(path, json.dumps(told).encode())
        manifest, kind = (DOCKER_MANIFEST, DOCKER_CONFIG) if docker else (OCI_MANIFEST, OCI_CONFIG)
        document = {
            "schemaVersion": 2,
            "mediaType": manifest,
            "config": {"mediaType": kind, **config},
            "layers": [{"mediaType": OCI_LAYER, **layer}],
        }
        return self._manifest(path, tag, document, manifest), layer["size"] + config["size"]

    def index(self, path: str, tag: str, architectures: tuple[str, ...], text: str = "hello") -> tuple[str, int]:
        """Push an image for several platforms; the index' digest, and the size of the first platform's."""
        listed, sizes = [], []
        for architecture in architectures:
            digest, size = self.image(
                path, f"{tag}-{architecture}", text=text + architecture, architecture=architecture
            )
            sizes.append(size)
            platform = {"os": "linux", "architecture": architecture}
            listed.append({"mediaType": OCI_MANIFEST, "digest": digest, "size": 500, "platform": platform})
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
        return self._manifest(path, tag, document, OCI_INDEX), sizes[0]

    def chart(self, path: str, tag: str) -> str:
        """Push something that is no image."""
        config, layer = self._blob(path, b'{"name": "chart"}'), self._blob(path, b"a chart")
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": HELM_CONFIG, **config},
            "layers": [{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", **layer}],
        }
        return self._manifest(path, tag, document, OCI_MANIFEST)

    def _blob(self, path: str, body: bytes) -> dict[str, Any]:
        begun = self._call("POST", f"{self.url}/v2/{path}/blobs/uploads/")
        where = urljoin(self.url, begun.headers["location"])
        digest = digest_of(body)
        joined = "&" if "?" in where else "?"
        self._call("PUT", f"{where}{joined}digest={digest}", body, "application/octet-stream")
        return {"digest": digest, "size": len(body)}

    def _manifest(self, path: str, tag: str, document: dict[str, Any], kind: str) -> str:
        body = json.dumps(document).encode()
        self._call("PUT", f"{self.url}/v2/{path}/manifests/{tag}", body, kind)
        return digest_of(body)

    def _call(self, method: str, url: str, body: bytes = b"", kind: str = "") -> httpx.Response:
        headers = {"Authorization": self._basic, **({"Content-Type": kind} if kind else {})}
        with httpx.Client(verify=self._trust, trust_env=False, timeout=20) as client:
            answer = client.request(method, url, content=body, headers=headers)
            challenge = answer.headers.get("www-authenticate", "")
            if answer.status_code == 401 and challenge.startswith("Bearer"):
                told = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
                query = {"service": told["service"], "scope": told["scope"]}
                given = client.get(told["realm"], params=query, headers={"Authorization": self._basic}).json()
                headers["Authorization"] = f"Bearer {given['token']}"
                answer = client.request(method, url, content=body, headers=headers)
        assert answer.status_code < 300, (method, url, answer.status_code, answer.text[:300])
        return answer


def _layer(text: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        told = tarfile.TarInfo("hello.txt")
        told.size = len(text.encode())
        archive.addfile(told, io.BytesIO(text.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)
