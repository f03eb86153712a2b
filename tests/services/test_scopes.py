"""What a token may do: every public function of every service, with every scope, and none is left out."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cmbcluster.domain.actors import ANONYMOUS, SYSTEM, Actor, Role, Scope, Tier
from cmbcluster.domain.images import check_image
from cmbcluster.domain.orders import LaunchOrder
from cmbcluster.errors import Forbidden, NotSignedIn, UserError
from cmbcluster.services.sign_ins import Attempt
from tests.platform import Platform


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: nothing here depends on the database."""
    return f"sqlite+aiosqlite:///{tmp_path / 'cmbcluster.db'}"


READ, LAUNCH, ADMIN = (frozenset({scope}) for scope in (Scope.READ, Scope.LAUNCH, Scope.ADMIN))
SESSION: frozenset[Scope] = frozenset()  # no token, whatever its scopes
ID = uuid4()
Call = Callable[[Any, Actor], Any]


@dataclass(frozen=True)
class Rule:
    """Which scopes let a token in, and how the function is called."""

    scopes: frozenset[Scope]
    call: Call
    system: bool = False  # closed to sessions of people who are no admins, and open to the platform itself


def launch(service: Any, actor: Actor) -> Any:
    return service.launch(actor, LaunchOrder("tiny", "planck", "small", 3600))


def finish_link(service: Any, actor: Actor) -> Any:
    nowhere: Any = None
    attempt = Attempt("nobody", nowhere, "/", actor.session_id or ID)
    return service.finish_link(actor, attempt, {}, browser="", address="")


RULES: dict[str, Rule] = {
    "accounts.person": Rule(READ, lambda s, a: s.person(a)),
    "accounts.limits": Rule(READ, lambda s, a: s.limits(a)),
    "accounts.rename": Rule(SESSION, lambda s, a: s.rename(a, "New Name")),
    "accounts.person_with": Rule(SESSION, lambda s, a: s.person_with(a, "ada@example.org"), system=True),
    "accounts.set_role": Rule(ADMIN, lambda s, a: s.set_role(a, ID, Role.USER), system=True),
    "accounts.set_tier": Rule(ADMIN, lambda s, a: s.set_tier(a, ID, Tier.FREE), system=True),
    "accounts.disable": Rule(ADMIN, lambda s, a: s.disable(a, ID), system=True),
    "accounts.sign_out": Rule(ADMIN, lambda s, a: s.sign_out(a, ID), system=True),
    "accounts.enable": Rule(ADMIN, lambda s, a: s.enable(a, ID), system=True),
    "sessions.stay": Rule(SESSION, lambda s, a: s.stay(a)),
    "sessions.standing": Rule(SESSION, lambda s, a: s.standing(a)),
    "sessions.mine": Rule(SESSION, lambda s, a: s.mine(a)),
    "sessions.end": Rule(SESSION, lambda s, a: s.end(a, ID)),
    "sessions.end_others": Rule(SESSION, lambda s, a: s.end_others(a)),
    "sessions.sign_out": Rule(SESSION, lambda s, a: s.sign_out(a)),
    "sign_ins.identities": Rule(SESSION, lambda s, a: s.identities(a)),
    "sign_ins.begin_link": Rule(SESSION, lambda s, a: s.begin_link(a, "nobody", browser_key="x")),
    "sign_ins.finish_link": Rule(SESSION, finish_link),
    "sessions.end_all_of": Rule(SESSION, lambda s, a: s.end_all_of(a, uuid4()), system=True),
    "sign_ins.shut_old_ways": Rule(SESSION, lambda s, a: s.shut_old_ways(a), system=True),
    "api_tokens.make": Rule(SESSION, lambda s, a: s.make(a, "x", ["read"], 7)),
    "api_tokens.mine": Rule(SESSION, lambda s, a: s.mine(a)),
    "api_tokens.revoke": Rule(SESSION, lambda s, a: s.revoke(a, ID)),
    "registries.enter": Rule(SESSION, lambda s, a: s.enter(a, "ghcr.io", "x", "y")),
    "registries.mine": Rule(SESSION, lambda s, a: s.mine(a)),
    "registries.remove": Rule(SESSION, lambda s, a: s.remove(a, ID)),
    "registries.credentials_for": Rule(
        SESSION, lambda s, a: s.credentials_for(a, ID, check_image("python")), system=True
    ),
    "registries.seal_anew": Rule(SESSION, lambda s, a: s.seal_anew(a), system=True),
    "catalogue.applications": Rule(READ, lambda s, a: s.applications(a)),
    "catalogue.categories": Rule(READ, lambda s, a: s.categories(a)),
    "catalogue.application": Rule(READ, lambda s, a: s.application(a, "tiny")),
    "catalogue.seed": Rule(SESSION, lambda s, a: s.seed(a, ()), system=True),
    "environments.get": Rule(READ, lambda s, a: s.get(a, ID)),
    "environments.page": Rule(READ, lambda s, a: s.page(a)),
    "environments.newest": Rule(READ, lambda s, a: s.newest(a)),
    "environments.resolve": Rule(READ | LAUNCH, lambda s, a: s.resolve(a, "planck")),
    "environments.up_now": Rule(READ, lambda s, a: s.up_now(a)),
    "environments.launch": Rule(LAUNCH, launch),
    "environments.start": Rule(LAUNCH, lambda s, a: s.start(a, ID)),
    "environments.stop": Rule(LAUNCH, lambda s, a: s.stop(a, ID)),
    "environments.extend": Rule(LAUNCH, lambda s, a: s.extend(a, ID)),
    "environments.rename": Rule(LAUNCH, lambda s, a: s.rename(a, ID, "other")),
    "environments.update": Rule(LAUNCH, lambda s, a: s.update(a, ID)),
    "environments.delete": Rule(LAUNCH, lambda s, a: s.delete(a, ID, typed_name="", remove_workspace=False)),
    "activity.page": Rule(READ, lambda s, a: s.page(a)),
    "activity.newest": Rule(READ, lambda s, a: s.newest(a)),
    "activity.kinds": Rule(READ, lambda s, a: s.kinds(a)),
    "activity.export": Rule(READ, lambda s, a: s.export(a)),
    "notices.recent": Rule(READ, lambda s, a: s.recent(a)),
    "notices.mark_read": Rule(SESSION, lambda s, a: s.mark_read(a)),
    "insights.logs": Rule(READ, lambda s, a: s.logs(a, ID, offset=0, follow=False)),
    "insights.usage": Rule(READ, lambda s, a: s.usage(a, ID)),
    "insights.workspace_bytes": Rule(READ, lambda s, a: s.workspace_bytes(a, ID)),
    "shares.share": Rule(SESSION, lambda s, a: s.share(a, ID, "ravi@example.org")),
    "shares.withdraw": Rule(SESSION, lambda s, a: s.withdraw(a, ID, ID)),
    "shares.of_environment": Rule(READ, lambda s, a: s.of_environment(a, ID)),
    "shares.with_me": Rule(READ, lambda s, a: s.with_me(a)),
    "access.mint": Rule(SESSION, lambda s, a: s.mint(a, ID)),
}
# Functions that find out who is acting, or only count or forget; each has tests of its own.
BEFORE_AN_ACTOR = {
    "sessions.sign_in",
    "sessions.find",
    "sessions.admit",
    "rates.check",
    "sessions.alive",
    "sessions.saw",
    "sessions.forget_answers",
    "sign_ins.providers",
    "sign_ins.begin",
    "sign_ins.take",
    "sign_ins.finish",
    "api_tokens.find",
    "api_tokens.rests",
    "api_tokens.forget_answers",
    "access.redeem",
    "access.authorize",
    "access.forget_passes",
}
SHOWN: list[frozenset[Scope]] = [frozenset(), *(frozenset({scope}) for scope in Scope), frozenset(Scope)]


def services(platform: Platform) -> dict[str, Any]:
    """Every service of the process by its name in ``Parts``."""
    return {
        name: part
        for name, part in vars(platform.parts).items()
        if type(part).__module__.startswith("cmbcluster.services")
    }


async def test_every_public_function_is_listed(platform: Platform) -> None:
    found = {
        f"{name}.{function}"
        for name, service in services(platform).items()
        for function, member in inspect.getmembers(type(service), callable)
        if not function.startswith("_")
    }
    assert found == set(RULES) | BEFORE_AN_ACTOR


async def test_every_listed_function_takes_an_actor_first(platform: Platform) -> None:
    for name in RULES:
        service, _, function = name.partition(".")
        names = list(inspect.signature(getattr(type(services(platform)[service]), function)).parameters)
        assert names[1] == "actor", name


async def allowed(platform: Platform, name: str, actor: Actor) -> bool:
    """Whether the function lets the actor in, whatever it says afterwards."""
    try:
        answer = RULES[name].call(services(platform)[name.partition(".")[0]], actor)
        if isinstance(answer, AsyncIterator):
            async for _ in answer:
                break
        else:
            await answer
    except (Forbidden, NotSignedIn):
        return False
    except UserError:
        pass
    return True


@pytest.mark.parametrize("name", RULES)
async def test_a_token_may_do_what_its_scopes_say(platform: Platform, name: str) -> None:
    person = await platform.sign_in("ravi")
    for shown in SHOWN:
        token = replace(person, session_id=None, scopes=shown, token_id=uuid4(), token_name="robot")
        assert await allowed(platform, name, token) == bool(shown & RULES[name].scopes), sorted(shown)


@pytest.mark.parametrize("name", RULES)
async def test_sessions_and_the_system_need_no_scope(platform: Platform, name: str) -> None:
    rule = RULES[name]
    assert await allowed(platform, name, await platform.sign_in("elena")) == (not rule.system)
    assert not await allowed(platform, name, ANONYMOUS)
    assert await allowed(platform, name, SYSTEM) == rule.system


def test_what_admins_may_do_needs_the_scope_too() -> None:
    admin = replace(SYSTEM, kind=ANONYMOUS.kind.PERSON, user_id=uuid4(), role=Role.ADMIN)
    assert admin.require_admin() == admin.user_id
    assert replace(admin, scopes=frozenset({Scope.ADMIN})).require_admin() == admin.user_id
    for wrong in (replace(admin, scopes=frozenset(Scope) - {Scope.ADMIN}), replace(admin, role=Role.USER)):
        with pytest.raises(Forbidden):
            wrong.require_admin()
