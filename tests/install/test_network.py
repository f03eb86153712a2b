"""Who reaches whom, by connections that are tried between the pods of an installed platform.

Each address that must be out of reach is reached from somewhere else in the same test, so that a connection that
fails says something about the policies and nothing about whoever should have answered.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import create_server
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from cmbcluster.runtime.kubernetes import names
from cmbcluster.runtime.kubernetes.manifests import PORT_NAME
from cmbcluster.runtime.kubernetes.names import Place
from cmbcluster.runtime.port import Ref
from tests.install.conftest import Installed
from tests.install.release import Json, run
from tests.kubernetes.cluster import needs, wanted

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.browser,
    pytest.mark.timeout(900),
    needs("CMB_TEST_PLATFORM_IMAGE"),
]

PORT = 8501
# Something else that listens in an environment, and that is nobody's business outside.
OTHER_PORT = 8502
READY_SECONDS = 120
LISTENS = f"""
import socket, threading
def serve(port):
    server = socket.create_server(("0.0.0.0", port))
    while True:
        server.accept()[0].close()
threading.Thread(target=serve, args=({OTHER_PORT},)).start()
serve({PORT})
"""
# All at once: what is dropped is silent, and is waited for only once.
TRIES = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reached(place):
    host, port = place.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
    except OSError:
        return False
    return True
places = sys.argv[1:]
with ThreadPoolExecutor(len(places)) as pool:
    print(json.dumps(dict(zip(places, pool.map(reached, places)))))
"""
API_SERVICE = "10.96.0.1:443"
METADATA = "169.254.169.254:80"
# Addresses that this machine gets for the test. The first is one of the open internet that nobody uses any more; the
# second is link-local as clouds' metadata services are, whose own address this machine may need.
PUBLIC = "192.88.99.77"
LINK_LOCAL = "169.254.77.77"


@dataclass(frozen=True)
class Environment:
    """A pod that looks like an environment and listens; no controller knows it."""

    namespace: str
    name: str
    address: str

    def at(self, port: int = PORT) -> str:
        return f"{self.address}:{port}"

    def reaches(self, *places: str) -> dict[str, bool]:
        return reaches(self.namespace, self.name, *places)


@dataclass(frozen=True)
class Outside:
    """What is beside the environments: the platform's own and what stands for the internet."""

    private: tuple[str, ...]
    metadata: tuple[str, ...]
    index: str
    internet: str


def reaches(namespace: str, pod: str, *places: str) -> dict[str, bool]:
    """Which of these a pod gets a connection to."""
    words = ("--namespace", namespace, "exec", pod, "--", "python3", "-c", TRIES, *places)
    found: dict[str, bool] = json.loads(run("kubectl", *words))
    return found


def all_of(places: tuple[str, ...], is_reached: bool) -> dict[str, bool]:
    return dict.fromkeys(places, is_reached)


def manifest(namespace: str, name: str, more: dict[str, str]) -> Json:
    # Another instance's, so that the controller of this one does not take it for something lost.
    labels = names.run_labels(Place(namespace, "network-test"), Ref(uuid4(), name, 1))
    quiet = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels | more},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "program",
                    "image": wanted("CMB_TEST_WORKSPACE_IMAGE"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", LISTENS],
                    "ports": [{"name": PORT_NAME, "containerPort": PORT}],
                    "securityContext": quiet,
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"cpu": "500m", "memory": "64Mi"},
                    },
                }
            ],
        },
    }


@contextmanager
def planted(namespace: str, name: str, **more: str) -> Iterator[Environment]:
    """A listening pod with the labels of an environment."""
    within = ("--namespace", namespace)
    labels = {names.INTERNET: more["internet"]} if more else {}
    run("kubectl", "apply", "--filename", "-", given=json.dumps(manifest(namespace, name, labels)))
    try:
        run("kubectl", *within, "wait", f"pod/{name}", "--for=condition=Ready", f"--timeout={READY_SECONDS}s",
            seconds=READY_SECONDS + 10)  # fmt: skip
        address = run("kubectl", *within, "get", "pod", name, "--output", "jsonpath={.status.podIP}")
        yield Environment(namespace, name, address)
    finally:
        run("kubectl", *within, "delete", "pod", name, "--wait=false", "--ignore-not-found")


@contextmanager
def answering(address: str) -> Iterator[str]:
    """An address that this machine has for a while, with somebody who answers there."""
    subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    try:
        with create_server((address, 0)) as server:

            def serve() -> None:
                while True:
                    try:
                        server.accept()[0].close()
                    except OSError:
                        return

            threading.Thread(target=serve, daemon=True).start()
            yield f"{address}:{server.getsockname()[1]}"
    finally:
        subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=True)


@pytest.fixture(scope="module")
def outside(up: Installed) -> Iterator[Outside]:
    node = wanted("CMB_TEST_NODE_ADDRESS")
    database, redis = urlsplit(up.addresses.database), urlsplit(up.addresses.redis)
    with answering(PUBLIC) as internet, answering(LINK_LOCAL) as link_local:
        yield Outside(
            private=(API_SERVICE, f"{node}:6443", *(f"{each.hostname}:{each.port}" for each in (database, redis))),
            metadata=(METADATA, link_local),
            index=f"{node}:{up.addresses.index_port}",
            internet=internet,
        )


@pytest.fixture(scope="module")
def online(up: Installed) -> Iterator[Environment]:
    with planted(up.release.environments, "network-online") as environment:
        yield environment


@pytest.fixture(scope="module")
def offline(up: Installed) -> Iterator[Environment]:
    with planted(up.release.environments, "network-offline", internet=names.NO_INTERNET) as environment:
        yield environment


def role_reaches(up: Installed, role: str, *places: str) -> dict[str, bool]:
    return reaches(up.release.namespace, str(up.release.pods(role)[0]["metadata"]["name"]), *places)


def test_an_environment_reaches_nothing_private_and_the_internet_by_its_tier(
    up: Installed, outside: Outside, online: Environment, offline: Environment
) -> None:
    blocked = (*outside.private, *outside.metadata)
    open_to_all = (outside.index,)
    found = online.reaches(*blocked, offline.at(), *open_to_all, outside.internet)
    assert found == all_of((*blocked, offline.at()), False) | all_of((*open_to_all, outside.internet), True)
    found = offline.reaches(*blocked, online.at(), *open_to_all, outside.internet)
    assert found == all_of((*blocked, online.at(), outside.internet), False) | all_of(open_to_all, True)
    # They do answer, to those whom no policy holds back. The metadata address itself has nobody behind it here.
    answer = (*outside.private, outside.metadata[1])
    assert role_reaches(up, "web", *answer) == all_of(answer, True)


def test_the_edge_and_the_gate_reach_an_environment_on_its_port_and_nobody_else_does(
    up: Installed, online: Environment, offline: Environment
) -> None:
    # Both ports answer, as the pod itself finds.
    own = (online.at(), online.at(OTHER_PORT))
    assert online.reaches(*own) == all_of(own, True)
    places = (*own, offline.at(), offline.at(OTHER_PORT))
    for role in ("edge", "gate"):
        assert role_reaches(up, role, *places) == {
            online.at(): True,
            offline.at(): True,
            online.at(OTHER_PORT): False,
            offline.at(OTHER_PORT): False,
        }, role
    for role in ("web", "controller"):
        assert role_reaches(up, role, *places) == all_of(places, False), role


def test_web_and_gate_talk_to_the_edge_alone(up: Installed, online: Environment) -> None:
    ports = {"web": (8201,), "gate": (8202, 8203), "controller": (8204,)}
    inner = tuple(
        f"{pod['status']['podIP']}:{port}"
        for role, listened in ports.items()
        for pod in up.release.pods(role)
        for port in listened
    )
    assert online.reaches(*inner) == all_of(inner, False)
    web_and_gate = tuple(place for place in inner if not place.endswith(":8204"))
    assert role_reaches(up, "edge", *web_and_gate) == all_of(web_and_gate, True)
    # A neighbour within the platform's own namespace is not the edge either.
    gates = tuple(place for place in inner if place.endswith((":8202", ":8203")))
    assert role_reaches(up, "controller", *gates) == all_of(gates, False)
