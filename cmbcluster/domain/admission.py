"""Who may enter, and as what: rules over what a provider vouches for.

Pure: no clock, no input or output. An e-mail address counts only when the provider says
that it is verified, and says so with the boolean ``true``. Being the first to sign in
must never give anybody anything.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cmbcluster.domain.actors import Role, Tier
from cmbcluster.provider_settings import ClaimRule, ProviderSettings

# Only these letters: what Unicode calls the same letter may be somebody else's address.
_SMALL_LETTERS = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True)
class Entrant:
    """Somebody at the door, as their provider describes them."""

    subject: str
    email: str = ""
    email_verified: object = False
    name: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def proven_email(self) -> str:
        """The address if the provider has verified it, else nothing."""
        return self.email if self.email_verified is True and "@" in self.email else ""


@dataclass(frozen=True)
class Decision:
    """What the rules say. ``why_not`` is for the log and names no person.

    ``tier`` is None where no rule of the provider is about tiers: then a person keeps theirs.
    """

    admitted: bool
    role: Role = Role.USER
    tier: Tier | None = None
    why_not: str = ""


def decide(provider: ProviderSettings, admins: Iterable[str], entrant: Entrant) -> Decision:
    """May they enter, and as what?"""
    if why_not := _why_not(provider, entrant):
        return Decision(False, why_not=why_not)
    by_setting = is_listed(entrant.proven_email, admins)
    by_claim = any(has_claim(entrant.claims, rule) for rule in provider.roles)
    role = Role.ADMIN if by_setting or by_claim else Role.USER
    return Decision(True, role, _tier(provider, entrant))


def surely_shut_out(provider: ProviderSettings, entrant: Entrant) -> bool:
    """Whether the rules refuse somebody of whom only the address is known, whatever else may be true of them.

    Claims are not kept, so a rule about claims leaves it open; so does Google's word for an organisation.
    """
    allowed = provider.allowed
    if allowed.claims or (provider.preset == "google" and allowed.domains):
        return False
    return bool(_why_not(provider, entrant))


def surely_no_admin(provider: ProviderSettings, admins: Iterable[str], entrant: Entrant) -> bool:
    """Whether no rule makes an admin of somebody of whom only the address is known."""
    return not provider.roles and not is_listed(entrant.proven_email, admins)


def _tier(provider: ProviderSettings, entrant: Entrant) -> Tier | None:
    """The first rule that fits decides; without a fit, it is the free one."""
    if not provider.tiers:
        return None
    return next((Tier(rule.tier) for rule in provider.tiers if has_claim(entrant.claims, rule)), Tier.FREE)


def _why_not(provider: ProviderSettings, entrant: Entrant) -> str:
    allowed = provider.allowed
    if allowed.everybody:
        return ""
    if any(has_claim(entrant.claims, rule) for rule in allowed.claims):
        return ""
    email = entrant.proven_email
    if is_listed(email, allowed.people) or _in_domains(provider, entrant):
        return ""
    if not email and (allowed.domains or allowed.people):
        return "no verified e-mail address"
    return "not on any list of this provider"


def _in_domains(provider: ProviderSettings, entrant: Entrant) -> bool:
    email = entrant.proven_email
    if not email or not provider.allowed.domains:
        return False
    if provider.preset == "google":
        # Google's word for the organisation an account belongs to. Anybody can have a Google
        # account with an address of a domain, but only its Workspace gives accounts this claim.
        organisation = entrant.claims.get("hd")
        return isinstance(organisation, str) and is_listed(organisation, provider.allowed.domains)
    return is_listed(email.rpartition("@")[2], provider.allowed.domains)


def is_listed(value: str, listed: Iterable[str]) -> bool:
    """Whether an address or a domain is on a list; capital A to Z are the same as small ones."""
    return bool(value) and folded(value) in {folded(each).removeprefix("@") for each in listed}


def folded(value: str) -> str:
    """How addresses and domains are compared."""
    return value.strip().translate(_SMALL_LETTERS)


def has_claim(claims: Mapping[str, Any], rule: ClaimRule) -> bool:
    """Whether a claim is the wanted value or a list with it. ``a.b`` is ``b`` inside ``a``."""
    found: Any = claims.get(rule.claim)
    if found is None and "." in rule.claim:
        found = claims
        for part in rule.claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, list | tuple):
        return rule.contains in [each for each in found if isinstance(each, str)]
    if isinstance(found, bool):
        return rule.contains == str(found).lower()
    return isinstance(found, str) and found == rule.contains
