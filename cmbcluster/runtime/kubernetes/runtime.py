"""The runtime of clusters: the port's two contracts, kept with pods.

It does what it is told and says what it sees. A watch only wakes whoever listens; whatever
is decided is decided on a live answer of the API server, and what it cannot say is unknown.
It must never touch an object without our labels, nor a workspace without being told to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.views import UsageView
from cmbcluster.errors import Conflict, RuntimeUnavailable
from cmbcluster.runtime.kubernetes import (
    endings,
    hopeless,
    leftovers,
    logs,
    memory,
    names,
    room,
    seeing,
    status,
    watching,
)
from cmbcluster.runtime.kubernetes.bundles import UNUSED_SECONDS, Bundles
from cmbcluster.runtime.kubernetes.client import ApiRefused, Cluster, connected
from cmbcluster.runtime.kubernetes.ground import ground_of, shared_claim_of
from cmbcluster.runtime.kubernetes.happenings import Happenings
from cmbcluster.runtime.kubernetes.launching import Launcher
from cmbcluster.runtime.kubernetes.manifests import INSTALLER
from cmbcluster.runtime.kubernetes.names import Json
from cmbcluster.runtime.kubernetes.needs import Needs
from cmbcluster.runtime.kubernetes.newest import Newest
from cmbcluster.runtime.kubernetes.objects import Objects
from cmbcluster.runtime.kubernetes.usage import usage_of
from cmbcluster.runtime.kubernetes.watching import Rhythm, Watcher
from cmbcluster.runtime.listening import Listener
from cmbcluster.runtime.port import Ending, LogLine, Observation, Ref, Sight, Spec, Workspace
from cmbcluster.settings import Settings

FIRST_LIST_SECONDS = 5.0
_log = logging.getLogger(__name__)


class KubernetesRuntime:
    """Runtime and Insight over one namespace of a cluster.

    ``open`` before anything else; ``close`` stops following and leaves environments running.
    ``connect`` is another way to the API server, ``patience`` a factor to the time a launch in trouble
    has, and ``unused_seconds`` how long what environments share stays without use (all for tests).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        connect: Callable[[], Awaitable[Cluster]] | None = None,
        rhythm: Rhythm | None = None,
        patience: float = 1.0,
        unused_seconds: float = UNUSED_SECONDS,
    ) -> None:
        self._settings = settings
        self._unused_seconds = unused_seconds
        self._bundles: Bundles | None = None
        self._connect = connect or partial(connected, settings.kubernetes_context)
        self._rhythm = rhythm
        self._patience = patience
        self._ground = ground_of(settings)
        self._place = self._ground.place
        self._cluster: Cluster | None = None
        self._objects_found: Objects | None = None
        self._launcher_made: Launcher | None = None
        self._pods: Watcher | None = None
        self._happenings = Happenings()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: set[Listener] = set()
        self._taken: Newest[Ref, Ending] = Newest()
        self._tails: Newest[str, str] = Newest()
        self._told: Newest[Ref, str] = Newest()

    @property
    def runs_images(self) -> bool:
        """Container images are what a cluster runs."""
        return True

    async def open(self, *, follow: bool = True) -> None:
        """Begin to follow. A cluster that does not answer now is waited for; StartRefused when there is none.

        Without ``follow`` it only looks when asked, which takes fewer rights and no connection that stays.
        """
        cluster = self._cluster = await self._connect()
        objects = self._objects_found = Objects(cluster, self._ground)
        shared = shared_claim_of(self._settings, self._place)
        self._bundles = Bundles(objects, self._place, self._ground.workspace_image, shared, self._unused_seconds)
        needs = Needs(lambda: self._pods.known_now if self._pods is not None else None)
        self._launcher_made = Launcher(objects, self._ground, self._bundles, needs, self._tail, self._patience)
        if not follow:
            return
        self._pods = Watcher(
            cluster, objects.pods_path(), {"labelSelector": self._place.selector}, self._pod_changed,
            trim=watching.without_bookkeeping, rhythm=self._rhythm,
        )  # fmt: skip
        events = Watcher(
            cluster, objects.events_path(), {}, self._event_heard, trim=watching.name_alone, rhythm=self._rhythm
        )
        for watcher in (self._pods, events):
            self._begin(watcher.run(), "watch the cluster")
        # Events are many, and only tell how far a launch is.
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LIST_SECONDS):
                await self._pods.listed.wait()

    async def close(self) -> None:
        """Stop following; environments go on and the next ``open`` finds them."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._cluster is not None:
            await self._cluster.close()
        self._cluster = self._objects_found = self._launcher_made = self._pods = None

    async def start(self, spec: Spec) -> None:
        """Ask for a run and return at once."""
        await self._launcher.start(spec)
        if self._launcher.refusal(spec.ref) is not None:
            self._tell(await self.look(spec.ref))

    async def stop(self, ref: Ref) -> None:
        """Ask for the end of a run and return at once: its ending is written down, then its pod is deleted."""
        pod = await self._objects.pod(ref)
        if pod is None or names.ref_of(pod) != ref:
            # Whoever began it may have come no further than its secret.
            return await self._objects.remove_secret(ref)
        if status.is_over(pod) or status.is_going(pod):
            return
        is_up, path = seeing.sight_of(pod) is Sight.RUNNING, self._objects.pod_path(ref.slug)
        said = await logs.tail(self._opened, path, wait_seconds=logs.LAST_WORDS_SECONDS) if is_up else ""
        await self._end(pod, ref, endings.stopped(pod, said))

    async def remove(self, ref: Ref, *, workspace: bool) -> None:
        """Delete everything of an environment; its workspace only when told so."""
        objects = self._objects
        pod = await objects.pod(ref)
        if pod is not None:
            if not status.is_over(pod):
                raise Conflict("This environment still runs.", "Stop it first.")
            await objects.end_pod(pod, grace_seconds=0)
        await objects.remove_secret(ref)
        claim = await objects.claim(ref)
        if claim is not None:
            await (objects.remove_claim(ref, claim) if workspace else objects.forget(ref, claim))
        self._launcher.forget(ref)
        for known in [known for known in self._taken if known.environment_id == ref.environment_id]:
            del self._taken[known]
        self._tell(_absent(ref))

    async def look(self, ref: Ref) -> Observation:
        """What is there now, asked live. A launch that cannot succeed is ended here, once its time is over."""
        pod = await self._objects.pod(ref)
        if pod is None or names.ref_of(pod) != ref:
            return await self._remembered(ref)
        return await self._seen(pod, ref)

    def heard_running(self, ref: Ref) -> datetime | None:
        """When the watch last said anything, if by it the run is up."""
        if self._pods is None:
            return None
        pod = self._pods.known.get(names.pod_name(ref.slug))
        if pod is None or names.ref_of(pod) != ref or seeing.sight_of(pod) is not Sight.RUNNING:
            return None
        return self._pods.heard_at

    async def observe(self) -> AsyncIterator[Observation]:
        """All runs that exist, then every change for ever."""
        if self._pods is None:
            raise _not_open()
        listener = Listener()
        self._listeners.add(listener)
        try:
            for pod in list(self._pods.known.values()):
                ref = names.ref_of(pod)
                if ref is None:
                    continue
                try:
                    listener.tell(self._glimpse(pod, ref))
                except Exception:
                    # One pod that nobody can read must not keep the others from being told.
                    _log.exception("a pod was not understood", extra={"environment": ref.slug})
            while True:
                yield await listener.next()
        finally:
            self._listeners.discard(listener)

    async def logs(self, ref: Ref, *, offset: int, follow: bool) -> AsyncIterator[LogLine]:
        """Output after ``offset`` of what the cluster keeps; the last lines alone once the pod is gone."""
        path = self._objects.pod_path(ref.slug)
        pod = await self._objects.pod(ref)
        if pod is None or names.ref_of(pod) != ref:
            for line in logs.of_ending((await self._remembered(ref)).ending, offset):
                yield line
            return
        async for line in logs.read(self._opened, path, names.uid_of(pod), offset, follow=follow):
            yield line

    async def usage(self, ref: Ref) -> UsageView | None:
        """What the run uses now, or None when it does not run."""
        pod = await self._objects.pod(ref)
        if pod is None or names.ref_of(pod) != ref or status.is_over(pod) or status.began(pod) is None:
            return None
        try:
            return usage_of(await self._opened.get(self._objects.metrics_path(ref.slug)))
        except (ApiRefused, RuntimeUnavailable) as wrong:
            # A cluster can be without metrics; that says nothing about the environment.
            _log.info("usage was not measured", extra={"environment": ref.slug, "error": str(wrong)})
            return usage_of(None)

    async def workspace_bytes(self, ref: Ref) -> int | None:
        """Size of the workspace when the present run began; None where nobody counted it."""
        pod = await self._objects.pod(ref)
        told = status.told_by_installer(pod).get("workspace_bytes") if pod is not None else None
        return told if isinstance(told, int) else None

    async def workspaces(self) -> tuple[Workspace, ...]:
        """Every claim of ours that is named as we name it; none where we may not list them."""
        return await leftovers.workspaces(self._objects)

    async def clear_unused(self) -> None:
        """Delete the config maps of packages that no pod and no launch has needed for a day."""
        if self._bundles is not None:
            await leftovers.clear_bundles(self._bundles, self._pods)

    async def clear_secrets(self, workspace: Workspace) -> None:
        """Delete the secrets of an environment that nobody knows and that has no pod."""
        await leftovers.clear_secrets(self._objects, workspace)

    async def clear_secret(self, ref: Ref) -> None:
        """Delete the secret of a run that is over for good. One with a pod still is cleared away together with that."""
        if self._pods is None or names.pod_name(ref.slug) not in self._pods.known:
            await self._objects.remove_secret(ref)

    # ---- looking ----

    async def _seen(self, pod: Json, ref: Ref) -> Observation:
        """A pod of this run is there."""
        sight = seeing.sight_of(pod)
        if sight in (Sight.BUILDING, Sight.STARTING, Sight.RUNNING):
            # A list of the past told that it was gone, or over.
            self._taken.pop(ref, None)
        pull = self._happenings.pull(pod)
        if sight is Sight.EXITED:
            ending = self._say(ref, endings.of_pod(pod, await self._tail(pod)))
            return seeing.observation_of(pod, ref, pull=pull, ending=ending)
        if sight is Sight.STOPPING and ref not in self._taken and (taken := endings.of_taking(pod)) is not None:
            said = await logs.tail(self._opened, self._objects.pod_path(ref.slug), wait_seconds=logs.LAST_WORDS_SECONDS)
            await self._objects.remember_first(ref, replace(taken, log_tail=said))
            self._taken[ref] = self._say(ref, taken)
        verdict = endings.verdict(pod, sight, self._happenings.warnings(pod), self._settings.build_seconds)
        if verdict is not None and verdict.is_final(datetime.now(UTC), self._patience):
            about = {"environment": ref.slug, "rule": verdict.rule, "said": verdict.said}
            _log.warning("a launch was given up", extra=about)
            self._launcher.doubt(pod)
            tail = await self._tail(pod) or verdict.said
            now = datetime.now(UTC)
            what, then = await self._shortage(pod, verdict) or (verdict.what, verdict.then)
            await self._end(pod, ref, Ending(verdict.reason, what, then, tail, ended_at=now))
            return Observation(ref, Sight.STOPPING, now, stages=seeing.stages_of(pod, pull, verdict, failed=True))
        return seeing.observation_of(pod, ref, pull=pull, verdict=verdict)

    async def _shortage(self, pod: Json, verdict: hopeless.Verdict) -> tuple[str, str] | None:
        """Figures for a launch that finds no room, where we may list the machines."""
        if verdict.reason is not StopReason.NO_ROOM or self._pods is None:
            return None
        try:
            nodes = await self._opened.get("/api/v1/nodes")
        except (ApiRefused, RuntimeUnavailable):
            return None
        return room.shortage(pod, verdict.said, (nodes or {}).get("items") or (), self._pods.known.values())

    async def _remembered(self, ref: Ref) -> Observation:
        """No pod of this run is there: it ended and we know how, or it is absent."""
        claim = await self._objects.claim(ref)
        ending = memory.endings(claim).get(ref.generation) if claim is not None else None
        ending = ending or self._launcher.refusal(ref) or self._taken.get(ref)
        if ending is None:
            return _absent(ref)
        return Observation(ref, Sight.EXITED, datetime.now(UTC), ending=self._say(ref, ending))

    async def _end(self, pod: Json, ref: Ref, ending: Ending) -> None:
        """Write an ending down before it comes about, so that nobody can find the one without the other."""
        await self._objects.remember(ref, ending)
        await self._objects.end_pod(pod, grace_seconds=self._ground.grace_seconds)

    async def _tail(self, pod: Json) -> str:
        """The last lines of a pod that is over, read once."""
        uid = names.uid_of(pod)
        if uid not in self._tails or not status.is_over(pod):
            began = status.began(pod) is not None
            path = f"{self._objects.pods_path()}/{pod['metadata']['name']}"
            self._tails[uid] = await logs.tail(self._opened, path, *(() if began else (INSTALLER,)))
        return self._tails[uid]

    # ---- hints ----

    def _glimpse(self, pod: Json, ref: Ref) -> Observation:
        """What the watch saw last, without asking."""
        ending = endings.of_pod(pod, "") if seeing.sight_of(pod) is Sight.EXITED else None
        return seeing.observation_of(pod, ref, pull=self._happenings.pull(pod), ending=ending)

    def _pod_changed(self, pod: Json, is_gone: bool) -> None:
        ref = names.ref_of(pod)
        if ref is None:
            return
        self._launcher.learn(pod)
        if status.is_over(pod) and not status.is_going(pod):
            # Should the pod be cleaned away before anybody looks, this is how it ended.
            self._taken[ref] = endings.of_pod(pod, "")
        if is_gone:
            if ref not in self._taken and status.was_ready(pod):
                # One that never was ready is absent instead, so that its launch is begun again.
                self._taken[ref] = endings.of_deletion(pod)
            self._begin(self._tell_truth(ref), "look after a pod went away")
        elif self._listeners:
            self._tell(self._glimpse(pod, ref))

    def _say(self, ref: Ref, ending: Ending) -> Ending:
        """Tell the log once by which rule a run ended; what is remembered of one has been told."""
        if ending.rule and ref not in self._told:
            self._told[ref] = ending.rule
            _log.info("a run ended", extra={"environment": ref.slug, "rule": ending.rule})
        return ending

    def _event_heard(self, event: Json, is_gone: bool) -> None:
        name = None if is_gone else self._happenings.hear(event)
        pod = self._pods.known.get(name) if name is not None and self._pods is not None else None
        if pod is not None and self._listeners and (ref := names.ref_of(pod)) is not None:
            self._tell(self._glimpse(pod, ref))

    async def _tell_truth(self, ref: Ref) -> None:
        with suppress(RuntimeUnavailable):
            self._tell(await self.look(ref))

    def _tell(self, seen: Observation) -> None:
        for listener in self._listeners:
            listener.tell(seen)

    def _begin(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a task of the runtime failed", exc_info=task.exception())

    # ---- parts that exist while it is open ----

    @property
    def _opened(self) -> Cluster:
        if self._cluster is None:
            raise _not_open()
        return self._cluster

    @property
    def _objects(self) -> Objects:
        if self._objects_found is None:
            raise _not_open()
        return self._objects_found

    @property
    def _launcher(self) -> Launcher:
        if self._launcher_made is None:
            raise _not_open()
        return self._launcher_made


def _not_open() -> RuntimeUnavailable:
    return RuntimeUnavailable("The Kubernetes runtime is not open.")


def _absent(ref: Ref) -> Observation:
    return Observation(ref=ref, sight=Sight.ABSENT, seen_at=datetime.now(UTC))
