"""Pod Security *restricted* in our own words, so that a wrong field fails without a cluster.

Written from the standard's list of controls (baseline and restricted); the real admission says
the same on a cluster, in tests/kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
SECCOMP = {"RuntimeDefault", "Localhost"}


def contexts(pod: dict[str, Any]) -> list[dict[str, Any]]:
    spec = pod["spec"]
    return [each["securityContext"] for each in (spec, *spec["initContainers"], *spec["containers"])]


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "root": lambda p: p["spec"]["securityContext"].update(runAsUser=0),
    "may be root": lambda p: [each.pop("runAsNonRoot") for each in contexts(p)],
    "no seccomp": lambda p: p["spec"]["securityContext"].pop("seccompProfile"),
    "unconfined": lambda p: p["spec"]["containers"][0]["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    "capability": lambda p: p["spec"]["containers"][0]["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
    "keeps": lambda p: p["spec"]["containers"][0]["securityContext"].pop("capabilities"),
    "escalation": lambda p: p["spec"]["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "privileged": lambda p: p["spec"]["containers"][0]["securityContext"].update(privileged=True),
    "host folder": lambda p: p["spec"]["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "host network": lambda p: p["spec"].update(hostNetwork=True),
    "host port": lambda p: p["spec"]["containers"][0]["ports"][0].update(hostPort=80),
    "probe": lambda p: p["spec"]["containers"][0]["startupProbe"]["httpGet"].update(host="1.1.1.1"),
    "sysctl": lambda p: p["spec"]["securityContext"].update(sysctls=[{"name": "kernel.x", "value": "1"}]),
}  # fmt: skip


def faults(pod: dict[str, Any]) -> list[str]:
    """Everything about a pod that *restricted* forbids."""
    spec = pod["spec"]
    found = [f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    whole = spec.get("securityContext", {})
    for volume in spec.get("volumes", ()):
        kinds = set(volume) - {"name"}
        if not kinds or kinds - VOLUMES:
            found.append(f"volume {volume.get('name')} is {kinds}")
    found += [f"sysctl {each['name']}" for each in whole.get("sysctls", ())]
    found += list(_identity("the pod", whole))
    for container in _containers(spec):
        found += list(_container_faults(container, whole))
    return found


def _containers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind, ())


def _container_faults(container: dict[str, Any], whole: dict[str, Any]) -> Iterator[str]:
    name, own = container["name"], container.get("securityContext", {})
    if own.get("privileged"):
        yield f"{name} is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may gain privileges"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()):
        yield f"{name} keeps capabilities"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"{name} adds capabilities"
    if own.get("procMount", "Default") != "Default":
        yield f"{name} has another /proc"
    if own.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
        yield f"{name} may run as root"
    profile = own.get("seccompProfile", whole.get("seccompProfile", {}))
    if profile.get("type") not in SECCOMP:
        yield f"{name} has no seccomp profile"
    yield from _identity(name, own)
    yield from (
        f"{name} has host port {port['hostPort']}" for port in container.get("ports", ()) if port.get("hostPort")
    )
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        for way in ("httpGet", "tcpSocket"):
            if "host" in container.get(probe, {}).get(way, {}):
                yield f"{name} probes another host"
    if container.get("lifecycle"):
        yield f"{name} has hooks"


def _identity(name: str, context: dict[str, Any]) -> Iterator[str]:
    if context.get("runAsUser") == 0:
        yield f"{name} runs as root"
    if context.get("seccompProfile", {}).get("type", "RuntimeDefault") not in SECCOMP:
        yield f"{name} has a seccomp profile that is none"
    if context.get("seLinuxOptions", {}).get("user") or context.get("seLinuxOptions", {}).get("role"):
        yield f"{name} has SELinux options"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in SECCOMP:
        yield f"{name} is unconfined"
