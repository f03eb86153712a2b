"""Who tries: each a way of arriving that ends in an ``Actor``, as every entry of the platform makes one.

A new way in, such as a personal token with a scope, is a further row of ``ARRIVALS``; the
matrix asks it everything it asks the others. Nobody here holds an ``Actor`` they made
themselves: a disabled person and an ended session come with the cookie they still have.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from uuid import UUID

from cmbcluster.domain.actors import ANONYMOUS, Actor, Role, Scope, Tier
from cmbcluster.identity.port import DEVELOPMENT, SignedIn
from tests.platform import Platform

OUTSIDERS = ("anonymous", "disabled", "ended", "token of the disabled", "revoked token")
# The guest may open the owner's running environment, and nothing else of theirs.
INSIDERS = ("stranger", "owner", "admin", "guest")
# Each is a person of their own who shows a token with these scopes; the last one is an admin.
TOKENS = {f"token {scope}": frozenset({scope}) for scope in Scope}
_PEOPLE = {
    # The owner is the victim: everybody else is asked to reach what is theirs.
    "owner": ("Olga Owner", Role.USER),
    "stranger": ("Stan Stranger", Role.USER),
    "admin": ("Aida Admin", Role.ADMIN),
    "guest": ("Gus Guest", Role.USER),
    "disabled": ("Dora Disabled", Role.USER),
    "ended": ("Emil Ended", Role.USER),
    "revoked token": ("Rita Revoked", Role.USER),
    **{who: (f"Script {who}", Role.ADMIN if Scope.ADMIN in scopes else Role.USER) for who, scopes in TOKENS.items()},
    # Somebody whose account the admins may change without changing the victim's.
    "operator": ("Otto Operator", Role.ADMIN),
}


@dataclass(frozen=True)
class Things:
    """What one person has: their account, a session, an environment that runs and one at rest."""

    user_id: UUID
    session_id: UUID
    running: UUID
    at_rest: UUID
    token_id: UUID
    slug: str = ""
    guest_id: UUID = UUID(int=7)
    names: tuple[str, ...] = ()
    email: str = ""
    account_id: UUID = UUID(int=0)

    def marks(self) -> tuple[str, ...]:
        """Texts that nobody else may ever be shown."""
        ids = (self.user_id, self.session_id, self.running, self.at_rest, self.token_id)
        return (*self.names, *(str(each) for each in ids))


@dataclass
class World:
    """The people of one platform, what they have, and the cookies in their browsers."""

    platform: Platform
    things: dict[str, Things] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    # Of the host of each one's running environment: a code that is not used yet, and a cookie.
    codes: dict[str, str] = field(default_factory=dict)
    gate_cookies: dict[str, str] = field(default_factory=dict)

    async def arrive(self, who: str) -> Actor:
        """The actor that this one becomes at the door now."""
        return await ARRIVALS[who](self)


async def _without_anything(_world: World) -> Actor:
    return replace(ANONYMOUS, address="192.0.2.66", operation_id="op-anonymous")


def _with_cookie(who: str) -> Callable[[World], Awaitable[Actor]]:
    async def arrive(world: World) -> Actor:
        # What ``http.actors`` and ``web.guard`` do with it: nobody is behind a cookie that opens nothing.
        found = await world.platform.parts.sessions.find(world.cookies[who], touch=False)
        return replace(found or ANONYMOUS, address="192.0.2.66", operation_id=f"op-{who}")

    return arrive


def _with_token(who: str) -> Callable[[World], Awaitable[Actor]]:
    async def arrive(world: World) -> Actor:
        found = await world.platform.parts.api_tokens.find(world.secrets[who], touch=False)
        return replace(found or ANONYMOUS, address="192.0.2.66", operation_id=f"op-{who}")

    return arrive


ARRIVALS: dict[str, Callable[[World], Awaitable[Actor]]] = {
    "anonymous": _without_anything,
    **{who: _with_cookie(who) for who in ("disabled", "ended", *INSIDERS)},
    "token of the disabled": _with_token("disabled"),
    "revoked token": _with_token("revoked token"),
    **{who: _with_token(who) for who in TOKENS},
}


async def populate(platform: Platform) -> World:
    """A platform with everybody in it; then one is disabled, and one signs out."""
    world = World(platform)
    for who, (name, role) in _PEOPLE.items():
        await _settle_in(world, who, name, role)
    for who in world.things:
        await _share(world, who, "operator")
    await _share(world, "owner", "guest")
    operator = await _with_cookie("operator")(world)
    guest_id = operator.person()
    world.things = {who: replace(things, guest_id=guest_id) for who, things in world.things.items()}
    await platform.parts.accounts.disable(operator, world.things["disabled"].user_id)
    await platform.parts.sessions.sign_out(await _with_cookie("ended")(world))
    revoked = world.things["revoked token"].token_id
    await platform.parts.api_tokens.revoke(await _with_cookie("revoked token")(world), revoked)
    return world


async def _share(world: World, who: str, guest: str) -> None:
    """Share what one runs with somebody; with oneself it cannot be."""
    if who != guest:
        actor = await _with_cookie(who)(world)
        await world.platform.parts.shares.share(actor, world.things[who].running, f"{guest}@example.org")


async def _settle_in(world: World, who: str, name: str, role: Role) -> None:
    platform, email = world.platform, f"{who.replace(' ', '-')}@example.org"
    identity = SignedIn(DEVELOPMENT, who, email, name, role, Tier.PREMIUM, email_verified=True)
    sessions = platform.parts.sessions
    world.cookies[who] = await sessions.sign_in(identity, browser="Firefox", address="192.0.2.1")
    actor = await sessions.find(world.cookies[who])
    assert actor is not None
    second = await sessions.sign_in(identity, browser="Chrome", address="192.0.2.1")
    other = await sessions.find(second)
    assert other is not None
    assert other.session_id is not None
    at_rest = await platform.running(actor, f"resting-{who.replace(' ', '-')}")
    await platform.parts.environments.stop(actor, at_rest.id)
    running = await platform.running(actor, f"running-{who.replace(' ', '-')}", uptime_seconds=7200)
    await platform.settle()
    scopes = TOKENS.get(who, frozenset(Scope) - {Scope.ADMIN})
    made = await platform.parts.api_tokens.make(actor, f"script-of-{who}", scopes, 30)
    world.secrets[who] = made.secret
    access = platform.parts.access
    codes = [(await access.mint(actor, running.id)).partition("code=")[2] for _ in range(2)]
    world.codes[who] = codes[0]
    world.gate_cookies[who] = await access.redeem(f"{running.slug}.localhost", codes[1])
    names = (
        running.name,
        at_rest.name,
        running.slug,
        at_rest.slug,
        email,
        name,
        f"script-of-{who}",
        f"at-registry-{who}",
    )
    account = await platform.parts.registries.enter(actor, "ghcr.io", f"at-registry-{who}", "a-secret-word")
    world.things[who] = Things(
        actor.person(),
        other.session_id,
        running.id,
        at_rest.id,
        made.view.id,
        slug=running.slug,
        names=names,
        email=email,
        account_id=account.id,
    )
