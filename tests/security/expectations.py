"""What each actor may do: one line for each public function of the services.

``own`` is the actor's own object, ``other`` the victim's (for the victim: a stranger's),
``missing`` one that never was. A function that is not here fails the test with its name.
A token acts for a person as far as its scopes go; which function asks for which is the table
of ``tests/services/test_scopes.py``, and is read from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cmbcluster.domain.actors import Actor, Role, Scope, Tier
from cmbcluster.domain.images import check_image
from cmbcluster.domain.orders import LaunchOrder
from cmbcluster.services.rates import Limited
from cmbcluster.wiring import Parts
from tests.security.actors import INSIDERS, OUTSIDERS, TOKENS, Things
from tests.services.test_scopes import RULES

OWN, OTHER, MISSING = "own", "other", "missing"
ALLOWED = "allowed"
NOT_FOUND, FORBIDDEN, NOT_SIGNED_IN, CONFLICT = "NotFound", "Forbidden", "NotSignedIn", "Conflict"

# actor -> (own, other, missing)
Answers = dict[str, tuple[str, str, str]]


def _answers(insiders: tuple[str, str, str], outsiders: str = NOT_SIGNED_IN, **more: tuple[str, str, str]) -> Answers:
    table = dict.fromkeys(INSIDERS, insiders) | dict.fromkeys(OUTSIDERS, (outsiders, outsiders, outsiders))
    return table | more


# About the person alone: there is no object to name, so all three are the same call.
PERSONAL = _answers((ALLOWED, ALLOWED, ALLOWED))
# An object of the person's own; somebody else's is missing, for admins too.
OWNED = _answers((ALLOWED, NOT_FOUND, NOT_FOUND))
# The same, and open to whom it is shared with.
SHAREABLE = OWNED | {"guest": (ALLOWED, ALLOWED, NOT_FOUND)}
# A filter, not an object: whatever is not the person's own filters everything out.
FILTER = _answers((ALLOWED, ALLOWED, ALLOWED))
# What admins do to other people's accounts. Nobody learns from a refusal whether somebody exists.
OPERATORS = _answers((FORBIDDEN, FORBIDDEN, FORBIDDEN), admin=(CONFLICT, ALLOWED, NOT_FOUND))
# The platform's own acts, and those of the operator's terminal.
PLATFORM = _answers((FORBIDDEN, FORBIDDEN, FORBIDDEN), FORBIDDEN)
# An application of the catalogue: the same for everybody who is signed in.
SHARED = _answers((ALLOWED, ALLOWED, NOT_FOUND))
# Counting, which must work before anybody has signed in.
OPEN = _answers((ALLOWED, ALLOWED, ALLOWED), ALLOWED)


@dataclass(frozen=True)
class Line:
    """``call`` makes the call; ``names_object`` says that it names one that somebody owns."""

    answers: Answers
    call: Callable[[Parts, Actor, Things], Any]
    names_object: bool = False


def _order(application: str) -> LaunchOrder:
    return LaunchOrder(application, "brand-new", "small", 3600)


def _application(things: Things) -> str:
    return "tiny" if things.names else "none"


def answers_of(name: str) -> Answers:
    """What everybody gets, tokens included."""
    answers = LINES[name].answers
    told = dict(answers)
    for who, scopes in TOKENS.items():
        person = "admin" if Scope.ADMIN in scopes else "stranger"
        rule = RULES.get(name)
        lets_in = rule is None or bool(scopes & rule.scopes)
        told[who] = answers[person] if lets_in else (FORBIDDEN, FORBIDDEN, FORBIDDEN)
    return told


LINES: dict[str, Line] = {
    "accounts.person": Line(PERSONAL, lambda p, a, t: p.accounts.person(a)),
    "accounts.rename": Line(PERSONAL, lambda p, a, t: p.accounts.rename(a, "New Name")),
    "accounts.limits": Line(PERSONAL, lambda p, a, t: p.accounts.limits(a)),
    "accounts.person_with": Line(PLATFORM, lambda p, a, t: p.accounts.person_with(a, t.email)),
    "accounts.set_role": Line(OPERATORS, lambda p, a, t: p.accounts.set_role(a, t.user_id, Role.ADMIN), True),
    "accounts.set_tier": Line(OPERATORS, lambda p, a, t: p.accounts.set_tier(a, t.user_id, Tier.FREE), True),
    "accounts.disable": Line(OPERATORS, lambda p, a, t: p.accounts.disable(a, t.user_id), True),
    "accounts.sign_out": Line(OPERATORS, lambda p, a, t: p.accounts.sign_out(a, t.user_id), True),
    "accounts.enable": Line(OPERATORS, lambda p, a, t: p.accounts.enable(a, t.user_id), True),
    "sessions.stay": Line(PERSONAL, lambda p, a, t: p.sessions.stay(a)),
    "sessions.standing": Line(PERSONAL, lambda p, a, t: p.sessions.standing(a)),
    "sessions.mine": Line(PERSONAL, lambda p, a, t: p.sessions.mine(a)),
    "sessions.end": Line(OWNED, lambda p, a, t: p.sessions.end(a, t.session_id), True),
    "sessions.sign_out": Line(PERSONAL, lambda p, a, t: p.sessions.sign_out(a)),
    "sessions.end_others": Line(PERSONAL, lambda p, a, t: p.sessions.end_others(a)),
    "sessions.end_all_of": Line(PLATFORM, lambda p, a, t: p.sessions.end_all_of(a, t.user_id)),
    "sign_ins.shut_old_ways": Line(PLATFORM, lambda p, a, t: p.sign_ins.shut_old_ways(a)),
    # No provider is set in this platform, so who may link at all is told that there is none.
    "sign_ins.begin_link": Line(
        _answers((NOT_FOUND, NOT_FOUND, NOT_FOUND)), lambda p, a, t: p.sign_ins.begin_link(a, "lab", browser_key="")
    ),
    "sign_ins.identities": Line(PERSONAL, lambda p, a, t: p.sign_ins.identities(a)),
    "api_tokens.make": Line(PERSONAL, lambda p, a, t: p.api_tokens.make(a, "another", ["read"], 30)),
    "api_tokens.mine": Line(PERSONAL, lambda p, a, t: p.api_tokens.mine(a)),
    "api_tokens.revoke": Line(OWNED, lambda p, a, t: p.api_tokens.revoke(a, t.token_id), True),
    "registries.enter": Line(PERSONAL, lambda p, a, t: p.registries.enter(a, "quay.io", "x", "y")),
    "registries.mine": Line(PERSONAL, lambda p, a, t: p.registries.mine(a)),
    "registries.remove": Line(OWNED, lambda p, a, t: p.registries.remove(a, t.account_id), True),
    "registries.credentials_for": Line(
        PLATFORM, lambda p, a, t: p.registries.credentials_for(a, t.user_id, check_image("ghcr.io/team/app"))
    ),
    "registries.seal_anew": Line(PLATFORM, lambda p, a, t: p.registries.seal_anew(a)),
    "catalogue.applications": Line(PERSONAL, lambda p, a, t: p.catalogue.applications(a)),
    "catalogue.categories": Line(PERSONAL, lambda p, a, t: p.catalogue.categories(a)),
    "catalogue.application": Line(SHARED, lambda p, a, t: p.catalogue.application(a, _application(t))),
    "catalogue.seed": Line(PLATFORM, lambda p, a, t: p.catalogue.seed(a, ())),
    "environments.get": Line(OWNED, lambda p, a, t: p.environments.get(a, t.running), True),
    "environments.page": Line(PERSONAL, lambda p, a, t: p.environments.page(a)),
    "environments.newest": Line(PERSONAL, lambda p, a, t: p.environments.newest(a)),
    "environments.resolve": Line(OWNED, lambda p, a, t: p.environments.resolve(a, t.slug), True),
    "environments.up_now": Line(PERSONAL, lambda p, a, t: p.environments.up_now(a)),
    "environments.launch": Line(SHARED, lambda p, a, t: p.environments.launch(a, _order(_application(t)))),
    "environments.start": Line(OWNED, lambda p, a, t: p.environments.start(a, t.at_rest), True),
    "environments.stop": Line(OWNED, lambda p, a, t: p.environments.stop(a, t.running), True),
    "environments.extend": Line(OWNED, lambda p, a, t: p.environments.extend(a, t.running), True),
    "environments.rename": Line(OWNED, lambda p, a, t: p.environments.rename(a, t.running, "other-name"), True),
    "environments.update": Line(OWNED, lambda p, a, t: p.environments.update(a, t.at_rest), True),
    "environments.delete": Line(
        OWNED, lambda p, a, t: p.environments.delete(a, t.at_rest, typed_name="", remove_workspace=False), True
    ),
    "activity.page": Line(FILTER, lambda p, a, t: p.activity.page(a, environment_id=t.running), True),
    "activity.newest": Line(FILTER, lambda p, a, t: p.activity.newest(a, environment_id=t.running), True),
    "activity.kinds": Line(PERSONAL, lambda p, a, t: p.activity.kinds(a)),
    "activity.export": Line(PERSONAL, lambda p, a, t: p.activity.export(a)),
    "notices.recent": Line(PERSONAL, lambda p, a, t: p.notices.recent(a)),
    "notices.mark_read": Line(PERSONAL, lambda p, a, t: p.notices.mark_read(a)),
    "insights.logs": Line(OWNED, lambda p, a, t: p.insights.logs(a, t.running, offset=0, follow=False), True),
    "insights.usage": Line(OWNED, lambda p, a, t: p.insights.usage(a, t.running), True),
    "insights.workspace_bytes": Line(OWNED, lambda p, a, t: p.insights.workspace_bytes(a, t.running), True),
    # Opening is the one thing that a guest may do to what is shared with them.
    "access.mint": Line(SHAREABLE, lambda p, a, t: p.access.mint(a, t.running), True),
    "shares.share": Line(OWNED, lambda p, a, t: p.shares.share(a, t.running, "ended@example.org"), True),
    "shares.withdraw": Line(OWNED, lambda p, a, t: p.shares.withdraw(a, t.running, t.guest_id), True),
    "shares.of_environment": Line(OWNED, lambda p, a, t: p.shares.of_environment(a, t.running), True),
    "shares.with_me": Line(PERSONAL, lambda p, a, t: p.shares.with_me(a)),
    "rates.check": Line(OPEN, lambda p, a, t: p.rates.check(a, Limited.API)),
}

# Functions that take no Actor, and why none can be there yet.
WITHOUT_ACTOR: dict[str, str] = {
    "sessions.sign_in": "makes the session of an identity that a provider vouched for; only routes call it",
    "sessions.find": "turns a token into the actor",
    "sessions.admit": "turns a token into the actor, and renews it",
    "sessions.alive": "turns the session of an environment's cookie into the actor; only the gate calls it",
    "sessions.saw": "notes that the person of a session did something; only the gate calls it",
    "sessions.forget_answers": "drops what was remembered; changes nothing that is kept",
    "api_tokens.find": "turns a token into the actor",
    "api_tokens.rests": "says of a token why it opens nothing, to whoever holds it",
    "api_tokens.forget_answers": "drops what was remembered; changes nothing that is kept",
    "sign_ins.providers": "what the front page offers to everybody",
    "sign_ins.begin": "nobody is signed in yet",
    "sign_ins.take": "nobody is signed in yet; the state and the browser's key decide",
    "sign_ins.finish": "nobody is signed in yet; what the provider vouches for decides",
    "access.redeem": "the one-time code decides; test_gate asks it as every actor",
    "access.authorize": "the environment's cookie decides; test_gate asks it as every actor",
    "access.forget_passes": "drops what was remembered; changes nothing that is kept",
}
# Functions that take an Actor and cannot be reached in this platform; who tests them.
ELSEWHERE: dict[str, str] = {
    "sign_ins.finish_link": "tests/oidc/test_linking.py, with a real provider",
}

NEVER_WAS = Things(
    UUID("00000000-0000-7000-8000-000000000001"),
    UUID("00000000-0000-7000-8000-000000000002"),
    UUID("00000000-0000-7000-8000-000000000003"),
    UUID("00000000-0000-7000-8000-000000000004"),
    UUID("00000000-0000-7000-8000-000000000005"),
    slug="never-was-abc123",
    email="nobody@example.org",
    account_id=UUID("00000000-0000-7000-8000-000000000006"),
)
