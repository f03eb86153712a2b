"""Live reads and writes of one environment's objects. Everything here may be repeated safely.

An object is ours only by its labels, and is deleted only as the very one that was read.
"""

from __future__ import annotations

import logging

from cmbcluster.errors import Conflict, RuntimeUnavailable
from cmbcluster.runtime.kubernetes import manifests, memory, names, status
from cmbcluster.runtime.kubernetes.client import SILENT_WEBHOOK, ApiRefused, Cluster
from cmbcluster.runtime.kubernetes.manifests import Ground
from cmbcluster.runtime.kubernetes.names import Json
from cmbcluster.runtime.kubernetes.quantities import amount
from cmbcluster.runtime.port import Ending, Ref, Spec

UNWANTED = frozenset({400, 403, 422})
_log = logging.getLogger(__name__)


class NotOurs(RuntimeUnavailable):
    """Something of somebody else has the name that ours would have; it is left alone."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"The {what} {name} in the cluster is not ours; it is left alone.", retryable=False)
        self.name = name


class Objects:
    """The pods, claims and secrets of environments."""

    def __init__(self, cluster: Cluster, ground: Ground) -> None:
        self._cluster = cluster
        self._ground = ground
        self._place = ground.place
        self._base = f"/api/v1/namespaces/{ground.place.namespace}"

    def pods_path(self) -> str:
        """Where pods are listed and made."""
        return f"{self._base}/pods"

    def events_path(self) -> str:
        """Where events are listed."""
        return f"{self._base}/events"

    def pod_path(self, slug: str) -> str:
        """One environment's pod."""
        return f"{self._base}/pods/{names.pod_name(slug)}"

    def metrics_path(self, slug: str) -> str:
        """What one environment's pod uses."""
        return f"/apis/metrics.k8s.io/v1beta1/namespaces/{self._place.namespace}/pods/{names.pod_name(slug)}"

    async def pod(self, ref: Ref) -> Json | None:
        """The environment's pod whatever its run, or None; also where somebody else's has its name."""
        found = await self._read(self.pod_path(ref.slug))
        return found if found is not None and self._place.owns(found, ref) else None

    async def pod_or_refuse(self, ref: Ref) -> Json | None:
        """The environment's pod, or None when its name is free. Raises NotOurs where somebody else has it."""
        return self._own(await self._read(self.pod_path(ref.slug)), ref, "pod")

    async def claim(self, ref: Ref) -> Json | None:
        """The environment's workspace, or None when there is none of ours or it is going away."""
        found = await self._read(self._claim_path(ref.slug))
        return None if found is None or not self._place.owns(found, ref) or status.is_going(found) else found

    async def claims(self) -> list[Json]:
        """The workspaces of all environments. Raises ApiRefused without the right to list them."""
        return await self._list("persistentvolumeclaims", self._place.selector)

    async def config_maps(self) -> list[Json]:
        """The config maps that environments share. Raises ApiRefused without the right to list them."""
        return await self._list("configmaps", self._place.shared_selector)

    async def pods(self) -> list[Json]:
        """The pods of all environments. Raises ApiRefused without the right to list them."""
        return await self._list("pods", self._place.selector)

    async def _list(self, kind: str, selector: str) -> list[Json]:
        return await self._cluster.pages(f"{self._base}/{kind}", labelSelector=selector)

    async def make_claim(self, spec: Spec) -> Json:
        """The workspace, made when it is not there yet. Raises ApiRefused, and NotOurs for somebody else's."""
        path = self._claim_path(spec.ref.slug)
        found = self._own(await self._read(path), spec.ref, "workspace")
        if found is None:
            made = await self._cluster.create(
                f"{self._base}/persistentvolumeclaims", manifests.claim(self._ground, spec)
            )
            found = made or self._own(await self._read(path), spec.ref, "workspace")
        if found is None:
            raise _contradiction("workspace")
        if status.is_going(found):
            raise Conflict("The workspace of that name is being removed.", "Try again in a moment.")
        await self._grow(found, spec)
        return found

    async def _grow(self, claim: Json, spec: Spec) -> None:
        """Ask for as much as the owner may have now. A workspace that stays small is better than no launch."""
        held_bytes = amount(claim["spec"].get("resources", {}).get("requests", {}).get("storage"))
        if held_bytes is None or spec.workspace_bytes <= held_bytes:
            return
        change = {"spec": {"resources": {"requests": {"storage": str(spec.workspace_bytes)}}}}
        try:
            await self._cluster.patch(self._claim_path(spec.ref.slug), change)
        except (ApiRefused, RuntimeUnavailable) as refused:
            # Most often its storage class does not let volumes grow.
            _log.warning("a workspace did not grow", extra={"environment": spec.ref.slug, "said": str(refused)})

    async def make_secret(self, spec: Spec, claim_uid: str) -> None:
        """The variables of the run. One of that name is as good: a run has one set of them."""
        made = await self._cluster.create(f"{self._base}/secrets", manifests.secret(self._ground, spec, claim_uid))
        if made is None:
            found = await self._read(f"{self._base}/secrets/{names.secret_name(spec.ref)}")
            if self._own(found, spec.ref, "secret") is None:
                raise _contradiction("secret")

    async def make_shared(self, kind: str, body: Json) -> None:
        """A config map or claim that environments share, made when it is not there yet."""
        path = f"{self._base}/{kind}"
        own_path = f"{path}/{body['metadata']['name']}"
        found = await self._read(own_path)
        if found is None:
            found = await self._cluster.create(path, body) or await self._read(own_path)
        if found is None:
            raise _contradiction(body["kind"])
        if names.labels_of(found).get(names.INSTANCE) != self._place.instance:
            raise RuntimeUnavailable(f"{body['metadata']['name']} in the cluster is not ours.", retryable=False)

    async def make_pod(self, ref: Ref, body: Json) -> None:
        """The pod of a run. Raises Conflict when another run has the name, ApiRefused when it may not be."""
        if await self._cluster.create(self.pods_path(), body) is not None:
            return
        there = await self.pod_or_refuse(ref)
        if there is None:
            raise _contradiction("pod")
        if names.ref_of(there) != ref:
            raise Conflict("Another run of this environment exists.", "Look again.")

    async def remember(self, ref: Ref, ending: Ending) -> None:
        """Write down how a run ended, where it outlives the pod."""
        note = memory.note(await self.claim(ref) or {}, ref.generation, ending)
        await self._change(self._claim_path(ref.slug), note)

    async def remember_first(self, ref: Ref, ending: Ending) -> None:
        """Write it down unless something is: who was asked to stop a run has the better word."""
        claim = await self.claim(ref)
        if claim is not None and ref.generation not in memory.endings(claim):
            await self.remember(ref, ending)

    async def forget(self, ref: Ref, claim: Json) -> None:
        """Let the workspace be as if nothing had ever run in it."""
        change = memory.forget(claim)
        if change is not None:
            await self._change(self._claim_path(ref.slug), change)

    async def end_pod(self, pod: Json, *, grace_seconds: int) -> None:
        """Ask for the end of the secret of its run, and of exactly this pod.

        The pod goes last: as long as it is there, whoever repeats this begins at the top.
        """
        ref = names.ref_of(pod)
        if ref is not None and uses_secret(pod):
            await self.remove_secret(ref)
        await self._remove(f"{self._base}/pods/{pod['metadata']['name']}", names.uid_of(pod), grace_seconds)

    async def remove_secret(self, ref: Ref) -> None:
        """Delete what a launch that never got its pod, or lost it, may have left; never somebody else's."""
        path = f"{self._base}/secrets/{names.secret_name(ref)}"
        found = await self._read(path)
        if found is not None and self._place.owns(found, ref):
            await self._remove(path, names.uid_of(found))

    async def remove_config_map(self, name: str, uid: str) -> None:
        """Delete exactly this config map."""
        await self._remove(f"{self._base}/configmaps/{name}", uid)

    async def remove_claim(self, ref: Ref, claim: Json) -> None:
        """Delete exactly this workspace."""
        await self._remove(self._claim_path(ref.slug), names.uid_of(claim))

    def _claim_path(self, slug: str) -> str:
        return f"{self._base}/persistentvolumeclaims/{names.claim_name(slug)}"

    async def _read(self, path: str) -> Json | None:
        try:
            return await self._cluster.get(path)
        except ApiRefused as refused:
            raise _not_allowed(refused) from refused

    async def _change(self, path: str, change: Json) -> None:
        try:
            await self._cluster.patch(path, change)
        except ApiRefused as refused:
            raise _not_allowed(refused) from refused

    async def _remove(self, path: str, uid: str = "", grace_seconds: int | None = None) -> None:
        try:
            await self._cluster.delete(path, uid=uid, grace_seconds=grace_seconds)
        except ApiRefused as refused:
            raise _not_allowed(refused) from refused

    def _own(self, found: Json | None, ref: Ref, what: str) -> Json | None:
        if found is not None and not self._place.owns(found, ref):
            raise NotOurs(what, found["metadata"]["name"])
        return found


def uses_secret(pod: Json) -> bool:
    """Whether a pod reads a secret of ours."""
    spec = pod["spec"]
    variables = (each for container in spec["containers"] for each in container.get("env") or ())
    return bool(spec.get("imagePullSecrets")) or any("valueFrom" in each for each in variables)


def is_unwanted(refused: ApiRefused) -> bool:
    """Whether a refusal is one of launching: of the object, or of what we may and where, if that does not change."""
    said = refused.message
    return refused.status in UNWANTED or SILENT_WEBHOOK in said or (refused.status == 404 and "namespaces " in said)


def _contradiction(what: str) -> RuntimeUnavailable:
    """A name was taken, and a moment later nobody had it: to be tried again."""
    return RuntimeUnavailable(f"The {what} of that name has just gone.")


def _not_allowed(refused: ApiRefused) -> RuntimeUnavailable:
    return RuntimeUnavailable(f"The cluster refused: {refused}", retryable=refused.status == 409)
