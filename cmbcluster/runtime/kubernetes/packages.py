"""How the packages of a lock get into a pod: one volume that every environment reads.

Pod Security *restricted* forbids folders of the node (hostPath), so the volume is a claim of
the namespace. On one node ReadWriteOnce is enough, since it binds to nodes and not to pods;
several nodes need a class with ReadWriteMany, and then share one build. It was chosen over a
hidden folder in each workspace because an environment must start as fast with a lock that
others use as with an image that holds everything, and because a workspace is the owner's to
fill: here the application sees the volume read-only and nobody can change what others run.

What has to be installed is a config map, named by the digest of its content, that is made
once for a lock and never changed. It carries the installing program itself and the bundled
application too, so an image older than the platform does no harm.

A cluster of several nodes that has no class with ReadWriteMany gives each environment a volume
of its own instead, which is empty at the beginning and goes with its pod.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from cmbcluster.runtime.kubernetes import names
from cmbcluster.runtime.kubernetes.names import Json, Place
from cmbcluster.runtime.port import Packages

MOUNT = "/packages"
SENT = "/cmb"
PROGRAM = "install.pyz"
NO_CLAIM = "None"  # the access mode that is none
KEY_LENGTH = 40
# What is sent to install: modules that import nothing but the standard library and each other.
_SENT_MODULES = ("install", "emptying")
_MAIN = "import sys\nfrom {package}.install import main\nsys.exit(main())\n"


@dataclass(frozen=True)
class Bundle:
    """All that an installation is made of, and the name that follows from it."""

    key: str
    lock: bytes
    bundled: bytes
    program: bytes

    @property
    def name(self) -> str:
        """Name of the config map."""
        return bundle_name(self.key)

    @property
    def folder(self) -> str:
        """Where the environment finds the build."""
        return f"{MOUNT}/builds/{self.key}"


def bundle_name(key: str) -> str:
    """Name of the config map that carries the bundle of that key."""
    return f"packages-{key}"


def bundle_of(content: Packages, image: str) -> Bundle:
    """What has to be installed for ``content`` on ``image``."""
    lock = gzip.compress(content.lock.text.encode(), mtime=0)
    bundled, sent = _archive(content.source.bundled), program()
    digest = hashlib.sha256()
    for part in (content.lock.digest.encode(), image.encode(), bundled, sent):
        digest.update(hashlib.sha256(part).digest())
    if content.source.from_source:
        digest.update(b"from source")
    return Bundle(digest.hexdigest()[:KEY_LENGTH], lock, bundled, sent)


def config_map(place: Place, bundle: Bundle) -> Json:
    """The object that carries a bundle to every pod that needs it."""
    files_sent = {"lock.txt.gz": bundle.lock, PROGRAM: bundle.program}
    if bundle.bundled:
        files_sent["bundled.zip"] = bundle.bundled
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": bundle.name, "namespace": place.namespace, "labels": _labels(place)},
        "immutable": True,
        "binaryData": {name: base64.b64encode(held).decode() for name, held in files_sent.items()},
    }


def shared_claim(place: Place, size_bytes: int, access: str, storage_class: str) -> Json:
    """The claim of installed packages."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": names.packages_claim_name(place.instance),
            "namespace": place.namespace,
            "labels": _labels(place),
        },
        "spec": {
            "accessModes": [access],
            "resources": {"requests": {"storage": str(size_bytes)}},
            **({"storageClassName": storage_class} if storage_class else {}),
        },
    }


def _labels(place: Place) -> dict[str, str]:
    return {
        names.MANAGED_BY: names.OURS,
        names.COMPONENT: names.PACKAGES_COMPONENT,
        names.INSTANCE: place.instance,
    }


@lru_cache(maxsize=1)
def program() -> bytes:
    """The program that installs, as an archive that Python runs: its modules under their own names."""
    package = __name__.rpartition(".")[0]
    parts = package.split(".")
    sent = {"/".join((*parts[:depth], "__init__.py")): b"" for depth in range(1, len(parts) + 1)}
    for module in _SENT_MODULES:
        sent[f"{'/'.join(parts)}/{module}.py"] = Path(__file__).with_name(f"{module}.py").read_bytes()
    return _zipped({"__main__.py": _MAIN.format(package=package).encode(), **sent})


@lru_cache(maxsize=64)
def _archive(bundled: str) -> bytes:
    """The bundled application as an archive that is the same each time; empty without one."""
    if not bundled:
        return b""
    folder = Path(str(files("cmbcluster"))) / "catalogue" / "bundled" / bundled
    if not bundled.replace("-", "").replace("_", "").isalnum() or not folder.is_dir():
        raise FileNotFoundError(bundled)
    found = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return _zipped({str(file.relative_to(folder)): file.read_bytes() for file in found})


def _zipped(content: dict[str, bytes]) -> bytes:
    """Files as an archive that is the same each time."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return held.getvalue()
