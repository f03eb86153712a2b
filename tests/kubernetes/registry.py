"""Made-up images in the test registry: enough of them for a node to try."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.kubernetes.cluster import wanted

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
PERSON = ("cmb", "cmb-secret")


@dataclass(frozen=True)
class Image:
    """What is in an image: its files, all of which may be run, and the configuration it starts by.

    ``attributes`` are extended attributes of each file. Of a spoiled one nobody can unpack what it holds.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    spoiled: bool = False


NOTHING = Image()


def host() -> str:
    """The registry as a node names it."""
    return urlsplit(wanted("CMB_TEST_REGISTRY_URL")).netloc


def pull_config(person: tuple[str, str] = PERSON) -> str:
    """The text of a .dockerconfigjson for it."""
    auth = base64.b64encode(":".join(person).encode()).decode()
    return json.dumps({"auths": {host(): {"auth": auth}}})


def push(repository: str, architecture: str, image: Image = NOTHING, *, tag: str = "", url: str = "") -> str:
    """Push an index with one image for one kind of processor; returns its digest."""
    with httpx.Client(base_url=url or wanted("CMB_TEST_REGISTRY_URL"), auth=PERSON) as client:
        plain = _archive({"empty": b"", **image.files}, image.attributes)
        layer = b"no archive" if image.spoiled else gzip.compress(plain, mtime=0)
        config = _text(
            {
                "architecture": architecture,
                "os": "linux",
                "config": image.config,
                "rootfs": {"type": "layers", "diff_ids": [_digest(plain)]},
            }
        )
        for blob in (layer, config):
            _push_blob(client, repository, blob)
        manifest = _text(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": _named("application/vnd.oci.image.config.v1+json", config),
                "layers": [_named("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
            }
        )
        _put(client, repository, manifest, MANIFEST)
        platform = {"platform": {"architecture": architecture, "os": "linux"}}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [_named(MANIFEST, manifest) | platform]}
        return _put(client, repository, _text(index), INDEX, tag)


def _archive(files: dict[str, bytes], attributes: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in files.items():
            told = tarfile.TarInfo(path)
            told.size, told.mode = len(content), 0o755
            told.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in attributes.items()}
            archive.addfile(told, io.BytesIO(content))
    return packed.getvalue()


def _push_blob(client: httpx.Client, repository: str, blob: bytes) -> None:
    place = client.post(f"/v2/{repository}/blobs/uploads/").raise_for_status().headers["Location"]
    client.put(
        place, params={**dict(httpx.URL(place).params), "digest": _digest(blob)}, content=blob
    ).raise_for_status()


def _put(client: httpx.Client, repository: str, body: bytes, kind: str, tag: str = "") -> str:
    digest = _digest(body)
    path = f"/v2/{repository}/manifests/{tag or digest}"
    client.put(path, content=body, headers={"Content-Type": kind}).raise_for_status()
    return digest


def _named(kind: str, body: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(body), "size": len(body)}


def _digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def _text(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
