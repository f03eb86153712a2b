"""The chart installed on the test cluster, as an operator installs it, and what one sees of it from outside."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cmbcluster.crypto.keyring import Keyring
from tests.install.people import sign_in_settings
from tests.kubernetes.cluster import PYTHON, wanted
from tests.oidc.served import Served

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "cmbcluster"
RELEASE = "cmb"
ROLES = ("web", "gate", "controller", "edge")
INSTALL_SECONDS = 420
COMMAND_SECONDS = 120
# Two cores carry the cluster, the platform, its applications and the browser.
RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
Json = dict[str, Any]


def run(program: str, *words: str, given: str = "", seconds: float = COMMAND_SECONDS) -> str:
    """What a command says; its complaint fails the test."""
    found = shutil.which(program)
    assert found is not None, f"{program} is not on PATH"
    done = subprocess.run([found, *words], input=given, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{program} {' '.join(words)}: {done.stderr[-4000:]}"
    return done.stdout


@dataclass(frozen=True)
class Addresses:
    """What the platform of this test talks to, as its pods reach it."""

    public_url: str
    database: str
    redis: str
    index: str
    registry: str = ""

    @property
    def index_port(self) -> int:
        """The port of the package index."""
        port = httpx.URL(self.index).port
        assert port is not None
        return port


@dataclass
class Release:
    """One installation; its environments are in a namespace beside its own."""

    namespace: str

    @property
    def environments(self) -> str:
        """The namespace of its environments."""
        return f"{self.namespace}-envs"

    def kubectl(self, *words: str, given: str = "") -> str:
        """Ask the cluster about the platform's own namespace."""
        return run("kubectl", "--namespace", self.namespace, *words, given=given)

    def pods(self, role: str) -> list[Json]:
        """The pods of a role that are not about to go."""
        words = ("get", "pods", "--output", "json", "--selector", f"app.kubernetes.io/component={role}")
        found: list[Json] = json.loads(self.kubectl(*words))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def edge_address(self) -> tuple[str, int]:
        """The Service that a load balancer would lead to."""
        found = json.loads(self.kubectl("get", "service", f"{RELEASE}-cmbcluster-edge", "--output", "json"))
        return str(found["spec"]["clusterIP"]), int(found["spec"]["ports"][0]["port"])

    def logs(self) -> str:
        """What the pods of all roles have said, as far as they run."""
        names = [pod["metadata"]["name"] for role in ROLES for pod in self.pods(role) if is_ready(pod)]
        return "".join(self._log(name) for name in names)

    def _log(self, name: str) -> str:
        """What a pod has said; nothing when it was just killed, since whoever kills reads its log before."""
        try:
            return self.kubectl("logs", name, "--tail", "-1", "--ignore-errors")
        except AssertionError as failed:
            if "NotFound" in str(failed):
                return ""
            raise


def is_ready(pod: Json) -> bool:
    """Whether the pod gets requests."""
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def kill_processes(pod: Json) -> int:
    """End all processes of a pod's containers at once, as a crash does; how many there were.

    The test cluster's node is this machine, so they are found by their control group.
    """
    uid = pod["metadata"]["uid"]
    containers = [each["containerID"].rpartition("/")[2] for each in pod["status"].get("containerStatuses", [])]
    killed = 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            group = (process / "cgroup").read_text()
            if uid in group.replace("_", "-") and any(each in group for each in containers):
                os.kill(int(process.name), signal.SIGKILL)
                killed += 1
    return killed


def _values(addresses: Addresses) -> Json:
    node = wanted("CMB_TEST_NODE_ADDRESS")
    repository, _, tag = wanted("CMB_TEST_PLATFORM_IMAGE").rpartition(":")
    to_index = {
        "to": [{"ipBlock": {"cidr": f"{node}/32"}}],
        "ports": [{"protocol": "TCP", "port": addresses.index_port}],
    }
    return {
        "publicUrl": addresses.public_url,
        "trustedProxyHops": 0,
        "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
        "trustedCertificates": "institution",
        "secrets": {"existing": "kept", "settingsFrom": "sign-in"},
        "settings": {
            "CMB_WORKSPACE_PYTHON": PYTHON,
            "CMB_PACKAGE_INDEX_URL": addresses.index,
            "CMB_IMAGE_REGISTRIES": addresses.registry,
            "CMB_IMAGE_INTERNAL_REGISTRIES": addresses.registry,
            "CMB_IMAGE_HTTP_REGISTRIES": addresses.registry,
            "CMB_KUBERNETES_PACKAGES_BYTES": str(6 * 1024**3),
            "CMB_KUBERNETES_STOP_GRACE_SECONDS": "3",
            "CMB_CONTROLLER_LEASE_SECONDS": "5",
            "CMB_KUBERNETES_CPU_REQUEST_PERCENT": "2",
            "CMB_KUBERNETES_MEMORY_REQUEST_PERCENT": "10",
        },
        "environments": {"workspaceImage": wanted("CMB_TEST_WORKSPACE_IMAGE"), "alsoReach": [to_index]},
        **{role: {"replicas": 2, "resources": RESOURCES} for role in ROLES},
        "lingerSeconds": 2,
        "drainSeconds": 5,
    }


def _prepare(release: Release, addresses: Addresses, provider: Served, folder: Path) -> None:
    """What docs/kubernetes-install.md asks for before the one command."""
    run("kubectl", "create", "namespace", release.namespace)
    enforced = "pod-security.kubernetes.io/enforce=restricted"
    run("kubectl", "label", "namespace", release.namespace, enforced)
    assert provider.trust is not None
    release.kubectl("create", "configmap", "institution", f"--from-file=ca.crt={provider.trust}")
    files = {"database-url": addresses.database, "redis-url": addresses.redis}
    for name, text in files.items():
        (folder / name).write_text(text)
    for name in ("token-keys.json", "sealing-keys.json"):
        Keyring.of_file(folder / name)
    words = [f"--from-file={name}={folder / name}" for name in (*files, "token-keys.json", "sealing-keys.json")]
    release.kubectl("create", "secret", "generic", "kept", *words)
    pairs = "".join(f"{name}={value}\n" for name, value in sign_in_settings(provider).items())
    release.kubectl("create", "secret", "generic", "sign-in", "--from-env-file=/dev/stdin", given=pairs)


@contextmanager
def installed(addresses: Addresses, provider: Served, folder: Path) -> Iterator[Release]:
    """``helm install --wait`` into a namespace of its own, gone afterwards with its environments."""
    release = Release(f"cmb-install-{secrets.token_hex(3)}")
    values = folder / "values.json"
    values.write_text(json.dumps(_values(addresses)))
    try:
        _prepare(release, addresses, provider, folder)
        words = [
            "--namespace",
            release.namespace,
            "--values",
            str(values),
            "--wait",
            "--timeout",
            f"{INSTALL_SECONDS}s",
        ]
        try:
            run("helm", "install", RELEASE, str(CHART), *words, seconds=INSTALL_SECONDS + 30)
        except AssertionError as refused:
            seen = release.kubectl("get", "pods,events")
            raise AssertionError(f"{refused}\n{seen[-6000:]}") from refused
        yield release
        run("helm", "uninstall", RELEASE, "--namespace", release.namespace, "--wait")
    finally:
        for namespace in (release.environments, release.namespace):
            run("kubectl", "delete", "namespace", namespace, "--wait=false", "--ignore-not-found")
