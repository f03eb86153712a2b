"""Making a run: the order in which its objects come about, and what a refusal leads to.

Workspace, secret, pod: at most three writes the first time and two later, and whoever dies
between two of them is followed by somebody who begins at the top and finds what is there.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.errors import Conflict, RuntimeUnavailable
from cmbcluster.runtime.kubernetes import ending_rules, endings, hopeless, manifests, memory, names, status
from cmbcluster.runtime.kubernetes.bundles import Bundles
from cmbcluster.runtime.kubernetes.client import ApiRefused
from cmbcluster.runtime.kubernetes.emptying import EVERYTHING
from cmbcluster.runtime.kubernetes.manifests import Ground
from cmbcluster.runtime.kubernetes.names import Json
from cmbcluster.runtime.kubernetes.needs import Needs
from cmbcluster.runtime.kubernetes.objects import NotOurs, Objects, is_unwanted
from cmbcluster.runtime.kubernetes.packages import Bundle
from cmbcluster.runtime.port import Ending, Packages, Ref, Spec

KEPT = 10_000
_log = logging.getLogger(__name__)


class Launcher:
    """Starts runs. What the API server refused is remembered here until the run is forgotten.

    ``tail`` reads the last lines of a pod that is over.
    """

    def __init__(
        self,
        objects: Objects,
        ground: Ground,
        bundles: Bundles,
        needs: Needs,
        tail: Callable[[Json], Awaitable[str]],
        patience: float = 1.0,
    ) -> None:
        self._objects = objects
        self._tail = tail
        self._ground = ground
        self._bundles = bundles
        self._needs = needs
        self._patience = patience
        self._installed: set[str] = set()
        self._refused: OrderedDict[Ref, tuple[datetime, Ending | None]] = OrderedDict()

    def refusal(self, ref: Ref) -> Ending | None:
        """Why a run could not be made; None when nothing was refused for good."""
        return self._refused.get(ref, (None, None))[1]

    def forget(self, ref: Ref) -> None:
        """Let a run be tried as if it never had been."""
        for known in [known for known in self._refused if known.environment_id == ref.environment_id]:
            del self._refused[known]

    def learn(self, pod: Json) -> None:
        """Note from a pod whether its packages are in the volume, so that later ones need not look."""
        self._needs.see(pod)
        key = names.annotations_of(pod).get(names.PACKAGES, "")
        if names.packages_claim_name(self._ground.place.instance) not in names.claims_of(pod):
            # What it has of its own says nothing about the volume that others share.
            return
        if key not in self._installed and status.told_by_installer(pod).get("removed"):
            # It made room, and what of the others is gone it alone knows: their next launches look.
            self._installed.clear()
        if ending_rules.misses_packages(pod):
            self._installed.discard(key)
            self._bundles.doubt(key)
        elif key and (status.was_ready(pod) or status.state(status.installer(pod), "terminated").get("exitCode") == 0):
            # One that came up without an installer says it too: after a restart nothing else might.
            self._installed.add(key)

    def doubt(self, pod: Json) -> None:
        """Its launch was given up: look again for what it installs from before the next one."""
        key = names.annotations_of(pod).get(names.PACKAGES, "")
        if key:
            self._bundles.doubt(key)

    async def start(self, spec: Spec) -> None:
        """Make the run unless it is there, was there, or is refused. Raises Conflict beside another one."""
        ref = spec.ref
        if self.refusal(ref) is not None:
            return
        try:
            await self._start(spec)
        except NotOurs as foreign:
            _log.warning(
                "a launch met something that is not ours", extra={"environment": ref.slug, "said": str(foreign)}
            )
            what = f"Something in the cluster that is not the platform's has its name, {foreign.name}."
            then = "Launch it under another name, or ask whoever runs this platform."
            ending = Ending(StopReason.START_FAILED, what, then, ended_at=datetime.now(UTC))
            self._keep(ref, datetime.now(UTC), ending)

    async def _start(self, spec: Spec) -> None:
        ref = spec.ref
        there = await self._objects.pod_or_refuse(ref)
        if there is not None:
            found = names.ref_of(there)
            if found == ref:
                return
            if found is None or found.generation > ref.generation:
                await self._refuse_unless_known(ref)
                return
            await self._clear(there)
        elif ref.generation > 1:
            # A pod that somebody else took away left its secret, which nobody would ask for again.
            await self._objects.remove_secret(replace(ref, generation=ref.generation - 1))
        try:
            await self._make(spec)
        except ApiRefused as refused:
            if not is_unwanted(refused):
                raise RuntimeUnavailable(
                    f"The cluster refused: {refused}", retryable=refused.status == 409
                ) from refused
            self._take(ref, refused)

    async def _make(self, spec: Spec) -> None:
        claim = await self._objects.make_claim(spec)
        ended = memory.endings(claim)
        if spec.ref.generation in ended:
            return
        if any(generation > spec.ref.generation for generation in ended):
            raise Conflict("A newer run of this environment exists.", "Look again.")
        try:
            bundle = await self._bundles.make(spec.content) if isinstance(spec.content, Packages) else None
        except FileNotFoundError as missing:
            what = f"The application “{missing}” is not part of this installation."
            ending = Ending(StopReason.BUILD_FAILED, what, "Choose another application.", ended_at=datetime.now(UTC))
            self._keep(spec.ref, datetime.now(UTC), ending)
            return
        if manifests.needs_secret(spec):
            await self._objects.make_secret(spec, names.uid_of(claim))
        body = manifests.pod(self._ground, spec, bundle, needed=self._needed(spec.ref, bundle))
        try:
            await self._objects.make_pod(spec.ref, body)
        except Conflict:
            # A newer run has the name, and this one will never read what was made for it.
            await self._objects.remove_secret(spec.ref)
            raise

    def _needed(self, ref: Ref, bundle: Bundle | None) -> str | None:
        """What the installer of a launch is told; None when it takes none. Its pod has to be made at once."""
        if bundle is None or self._ground.own_packages_bytes:
            # Nobody else uses a volume of its own, which is empty.
            return EVERYTHING
        return self._needs.launching(ref, bundle.key, is_installed=bundle.key in self._installed)

    async def _refuse_unless_known(self, ref: Ref) -> None:
        """A newer run is there: silence about one that we know has ended, else Conflict."""
        claim = await self._objects.claim(ref)
        if claim is None or ref.generation not in memory.endings(claim):
            raise Conflict("A newer run of this environment exists.", "Look again.")

    async def _clear(self, older: Json) -> None:
        """Make room where an older run has ended by itself."""
        if not status.is_over(older) or status.is_going(older):
            raise Conflict("An earlier run of this environment has not ended.", "Stop it first.")
        if (ref := names.ref_of(older)) is not None:
            # Its output goes with the pod, and people ask what the run before said.
            await self._objects.remember_first(ref, endings.of_pod(older, await self._tail(older)))
        await self._objects.end_pod(older, grace_seconds=0)

    def _take(self, ref: Ref, refused: ApiRefused) -> None:
        """Find the words for a refusal; one that may pass by itself is only unavailable for now."""
        first_at = self._refused.get(ref, (datetime.now(UTC), None))[0]
        verdict = hopeless.of_refusal(refused.message, first_at)
        if not verdict.is_final(datetime.now(UTC), self._patience):
            self._keep(ref, first_at, None)
            raise RuntimeUnavailable(f"The cluster refused for now: {refused}") from refused
        about = {"environment": ref.slug, "rule": verdict.rule, "said": refused.message}
        _log.warning("a launch was refused", extra=about)
        ending = Ending(verdict.reason, verdict.what, verdict.then, refused.message, ended_at=datetime.now(UTC))
        self._keep(ref, first_at, ending)

    def _keep(self, ref: Ref, first_at: datetime, ending: Ending | None) -> None:
        self._refused[ref] = (first_at, ending)
        while len(self._refused) > KEPT:
            self._refused.popitem(last=False)
