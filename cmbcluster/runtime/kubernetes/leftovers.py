"""What is left in a cluster of environments that nobody knows any more.

A secret belongs to its run's claim, which is kept, so the collector of garbage does not take it
away. We may not list secrets, since a list shows them all, and look for those of a claim by the
names that its runs can have. Nothing here ever touches a workspace.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from cmbcluster.errors import RuntimeUnavailable
from cmbcluster.runtime.kubernetes import memory, names, status
from cmbcluster.runtime.kubernetes.bundles import Bundles
from cmbcluster.runtime.kubernetes.client import ApiRefused
from cmbcluster.runtime.kubernetes.objects import Objects
from cmbcluster.runtime.kubernetes.watching import Watcher
from cmbcluster.runtime.port import Ref, Workspace

# Runs that nobody stopped are not remembered by the claim; more of them on end than this are not looked for.
RUNS_LOOKED_FOR = 20
# Whatever number stands in an annotation, it is not as many questions.
MOST_RUNS_ASKED = 200
_log = logging.getLogger(__name__)


async def workspaces(objects: Objects) -> tuple[Workspace, ...]:
    """Every claim of ours that has the name we give it; none where we may not list them."""
    try:
        claims = await objects.claims()
    except ApiRefused as refused:
        _log.info("workspaces were not listed", extra={"error": str(refused)})
        return ()
    found = []
    for claim in claims:
        workspace = names.workspace_of(claim)
        is_going = bool(claim["metadata"].get("deletionTimestamp"))
        if workspace is not None and not is_going and claim["metadata"]["name"] == names.claim_name(workspace.slug):
            found.append(replace(workspace, made_at=status.moment(claim["metadata"].get("creationTimestamp"))))
    return tuple(found)


async def clear_bundles(bundles: Bundles, pods: Watcher | None) -> None:
    """Delete bundles that nothing needs; nothing while it is not known which pods there are, or may not be listed."""
    if pods is None or pods.heard_at is None:
        return
    try:
        await bundles.clear(list(pods.known.values()))
    except (ApiRefused, RuntimeUnavailable) as refused:
        # What else is left over is looked at all the same.
        _log.info("bundles were not cleared", extra={"error": str(refused)})


async def clear_secrets(objects: Objects, workspace: Workspace) -> None:
    """Delete the secrets that runs of this workspace may have left, unless one of them has its pod still."""
    first = Ref(workspace.environment_id, workspace.slug, 1)
    claim = await objects.claim(first)
    if claim is None or await objects.pod(first) is not None:
        return
    last = max(memory.endings(claim), default=0) + RUNS_LOOKED_FOR
    for run in range(max(1, last - MOST_RUNS_ASKED), last + 1):
        await objects.remove_secret(Ref(workspace.environment_id, workspace.slug, run))
