"""Lines of activity in words: who did what to which environment."""

from __future__ import annotations

from dataclasses import dataclass

from cmbcluster.domain.views import ActivityView
from cmbcluster.web.words import epoch

# Kind: what a person did, said with "You" or a name before it and the environment after it.
DEEDS: dict[str, str] = {
    "launched": "launched",
    "started": "started",
    "extended": "extended",
    "renamed": "renamed",
    "updated": "updated",
    "deleted": "deleted",
    "opened": "opened",
    "shared": "shared",
    "unshared": "stopped sharing",
    "cancelled": "cancelled the launch of",
    "stopping": "stopped",
    "signed_in": "signed in",
    "signed_out": "signed out",
    "session_ended": "ended a session",
    "profile_changed": "changed the profile",
    "token_made": "made a token",
    "token_revoked": "revoked a token",
    "registry_added": "added an account at a registry",
    "registry_changed": "changed an account at a registry",
    "registry_removed": "removed an account at a registry",
    "rights_changed": "changed the rights of this account",
    "account_disabled": "disabled this account",
    "sessions_ended": "ended every session of this account",
    "account_enabled": "enabled this account",
}
# Kind: what happened to the environment by itself, said after its name.
EVENTS: dict[str, str] = {
    "running": "began running",
    "stopped": "stopped",
    "failed": "failed",
    "restarted": "was restarted by the platform",
    "session_copied": "A session ended, because an old copy of its token was used",
    "warned": "was near its end",
}
KINDS: dict[str, str] = {
    "signed_in": "Signed in",
    "signed_out": "Signed out",
    "session_ended": "Session ended",
    "session_copied": "Session ended: its token was copied",
    "launched": "Launched",
    "started": "Started again",
    "running": "Began running",
    "stopping": "Stop asked for",
    "stopped": "Stopped",
    "failed": "Failed",
    "restarted": "Restarted by the platform",
    "cancelled": "Launch cancelled",
    "extended": "Extended",
    "renamed": "Renamed",
    "updated": "Updated",
    "deleted": "Deleted",
    "opened": "Opened",
    "shared": "Shared",
    "unshared": "Sharing withdrawn",
    "warned": "Warned of the end",
    "profile_changed": "Profile changed",
    "token_made": "Token made",
    "token_revoked": "Token revoked",
    "registry_added": "Registry account added",
    "registry_changed": "Registry account changed",
    "registry_removed": "Registry account removed",
    "rights_changed": "Rights changed",
    "account_disabled": "Account disabled",
    "sessions_ended": "Signed out everywhere",
    "account_enabled": "Account enabled",
}


@dataclass(frozen=True)
class FeedRow:
    """One line: ``before`` environment ``after``."""

    id: str = ""
    at: float = 0.0
    before: str = ""
    environment: str = ""
    after: str = ""
    href: str = ""
    kind: str = ""
    detail: str = ""
    result: str = ""
    address: str = ""


def kind_words(kind: str) -> str:
    """The kind as a choice in a filter."""
    return KINDS.get(kind, kind.replace("_", " ").capitalize())


def feed_row(view: ActivityView) -> FeedRow:
    """One line of activity."""
    who = view.actor_name or "You"
    before, after = "", ""
    if view.kind in EVENTS:
        after = f" {EVENTS[view.kind]}"
    else:
        deed = DEEDS.get(view.kind, view.kind.replace("_", " "))
        before = f"{who} {deed} " if view.environment_name else f"{who} {deed}"
    if view.result == "refused":
        after += ", which was refused"
    elif view.result == "failed" and view.kind not in EVENTS:
        after += ", which failed"
    return FeedRow(
        id=str(view.id),
        at=epoch(view.at),
        before=before,
        environment=view.environment_name,
        after=after,
        href=f"/environments/{view.environment_id}" if view.environment_id and view.kind != "deleted" else "",
        kind=kind_words(view.kind),
        detail=view.detail,
        result=view.result,
        address=view.address,
    )
