"""Personal tokens: told once, kept as a hash, ended at once, and never more than their person."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import pytest
from sqlalchemy import text

from cmbcluster.db.scripts import ApiTokens
from cmbcluster.domain.actors import SYSTEM, Actor, Role, Scope
from cmbcluster.domain.gate import ENVIRONMENT_COOKIE, Verdict
from cmbcluster.domain.tokens import LIFETIMES_DAYS, bearer_of, looks_right, token_of
from cmbcluster.errors import InvalidInput, NotFound, QuotaExceeded, TooManyRequests
from cmbcluster.services.api_tokens import MOST_TOKENS, ApiTokenService, MadeToken
from cmbcluster.services.rates import RateService
from cmbcluster.settings import Settings
from tests.platform import Platform


async def make(platform: Platform, person: str, *scopes: str, days: int | None = 90, name: str = "laptop") -> MadeToken:
    actor = await platform.sign_in(person)
    return await platform.parts.api_tokens.make(actor, name, scopes or ("read", "launch"), days)


async def write(platform: Platform, sql: str) -> None:
    async with platform.parts.database.transaction() as work:
        await (await work.users._session.connection()).execute(text(sql))


def test_a_token_can_be_recognised() -> None:
    for number in (0, 1, 62, 2**255, 2**256 - 1):
        token = token_of(number)
        assert len(token) == 53
        assert token.startswith("cmb_")
        assert looks_right(token)
    assert len({token_of(number) for number in range(1000)}) == 1000
    with pytest.raises(ValueError, match="256 bits"):
        token_of(2**256)


@pytest.mark.parametrize("position", [4, 20, 46, 47, 52])
def test_a_mistyped_token_is_known_as_one(position: int) -> None:
    token = token_of(2**200 + 12345)
    other = "A" if token[position] != "A" else "B"
    assert not looks_right(token[:position] + other + token[position + 1 :])
    for wrong in (
        token[:-1],
        token + "0",
        token.upper(),
        " " + token,
        token.replace("cmb_", "cmb-"),
        "",
        "cmb_" + "é" * 49,
    ):
        assert not looks_right(wrong)


def test_headers_that_show_a_token() -> None:
    token = token_of(7)
    for header in (f"Bearer {token}", f"bearer  {token} ", f"token {token}"):
        assert bearer_of(header) == token
    for header in ("", token, f"Basic {token}", "Bearer other", "Bearer", f"Bearer x{token}", f"Token: {token}"):
        assert bearer_of(header) == ""


async def test_only_the_hash_is_kept(platform: Platform) -> None:
    made = await make(platform, "ada")
    assert made.view.prefix == made.secret[:12]
    await platform.parts.database.close()
    for path in platform.parts.settings.data_dir.glob("cmbcluster.db*"):
        assert made.secret.encode() not in path.read_bytes()


async def test_a_token_acts_for_its_person_with_its_scopes(platform: Platform) -> None:
    made = await make(platform, "ada", "read", name="  Nightly   run ")
    assert made.view.name == "Nightly run"
    actor = await platform.parts.api_tokens.find(made.secret)
    assert actor is not None
    assert actor.name == "Ada Lovell"
    assert actor.scopes == frozenset({Scope.READ})
    assert actor.session_id is None
    assert actor.person() == (await platform.sign_in("ada")).user_id


@pytest.mark.parametrize("days", [*LIFETIMES_DAYS, None])
async def test_a_token_ends_when_it_said(platform: Platform, days: int | None) -> None:
    made = await make(platform, "ada", days=days)
    find = platform.parts.api_tokens.find
    if days is None:
        platform.advance(10 * 365 * 86400)
        assert await find(made.secret) is not None
        return
    platform.advance(days * 86400 - 1)
    assert await find(made.secret) is not None
    platform.advance(2)
    assert await find(made.secret) is None
    assert [view.expired for view in await platform.parts.api_tokens.mine(await platform.sign_in("ada"))] == [True]


async def test_revoking_ends_it_at_once_and_belongs_to_the_owner(platform: Platform) -> None:
    made, tokens = await make(platform, "ada"), platform.parts.api_tokens
    ada, elena = await platform.sign_in("ada"), await platform.sign_in("elena")
    for actor, token_id in ((elena, made.view.id), (ada, uuid4())):
        with pytest.raises(NotFound) as refused:
            await tokens.revoke(actor, token_id)
        assert refused.value.what == "There is no such token, or it is not yours."
    assert await tokens.find(made.secret) is not None
    async with platform.bus.subscribe("sessions", f"token:{made.view.id}") as rings:
        await tokens.revoke(ada, made.view.id)
        assert {(await anext(rings)).topic, (await anext(rings)).topic} == {"sessions", f"token:{made.view.id}"}
    assert await tokens.find(made.secret) is None
    assert await tokens.mine(ada) == ()
    with pytest.raises(NotFound):
        await tokens.revoke(ada, made.view.id)
    kinds = [row.kind for row in (await platform.parts.activity.page(ada)).rows]
    assert kinds[:1] == ["token_revoked"]
    assert "token_made" in kinds


async def test_an_answer_is_reused_for_a_moment_and_forgotten_with_a_ring(platform: Platform) -> None:
    settings = Settings(data_dir=platform.parts.settings.data_dir, session_cache_seconds=10, _env_file=None)
    tokens = ApiTokenService(platform.parts.database, platform.bus, settings, platform.parts.rates)
    made = await make(platform, "ada")
    assert await tokens.find(made.secret) is not None
    # Another replica revoked it: this one knows with the ring.
    await platform.parts.api_tokens.revoke(await platform.sign_in("ada"), made.view.id)
    assert await tokens.find(made.secret) is not None
    tokens.forget_answers()
    assert await tokens.find(made.secret) is None


async def test_what_was_read_before_a_ring_is_not_kept(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=platform.parts.settings.data_dir, session_cache_seconds=10, _env_file=None)
    tokens = ApiTokenService(platform.parts.database, platform.bus, settings, platform.parts.rates)
    made = await make(platform, "ada")
    by_hash, read, may_go_on = ApiTokens.by_hash, asyncio.Event(), asyncio.Event()

    async def slowly(rows: ApiTokens, key: str) -> object:
        found = await by_hash(rows, key)
        read.set()
        await may_go_on.wait()
        return found

    monkeypatch.setattr(ApiTokens, "by_hash", slowly)
    looking = asyncio.create_task(tokens.find(made.secret, touch=False))
    await read.wait()
    tokens.forget_answers()
    may_go_on.set()
    await looking
    monkeypatch.setattr(ApiTokens, "by_hash", by_hash)
    await platform.parts.api_tokens.revoke(await platform.sign_in("ada"), made.view.id)
    assert await tokens.find(made.secret) is None


async def test_a_disabled_person_has_no_tokens_that_work(platform: Platform) -> None:
    made = await make(platform, "ada")
    ada = await platform.sign_in("ada")
    async with platform.bus.subscribe("sessions") as rings:
        await platform.parts.accounts.disable(SYSTEM, ada.person())
        # What every replica forgets its answers on.
        assert (await asyncio.wait_for(anext(rings), 1)).topic == "sessions"
    assert await platform.parts.api_tokens.find(made.secret) is None


async def test_admin_only_for_admins_and_only_while_they_are(platform: Platform) -> None:
    with pytest.raises(InvalidInput) as refused:
        await make(platform, "elena", "admin")
    assert refused.value.field == "scopes"
    made = await make(platform, "ravi", "read", "admin")
    plain = await make(platform, "ravi", "read")

    async def found(token: MadeToken) -> Actor:
        actor = await platform.parts.api_tokens.find(token.secret)
        assert actor is not None
        return actor

    assert (await found(made)).role is Role.ADMIN
    assert (await found(plain)).role is Role.USER
    await write(platform, "update users set role = 'user' where subject = 'ravi'")
    assert (await found(made)).role is Role.USER
    assert (await found(made)).scopes == frozenset({Scope.READ})


async def test_the_last_use_is_written_once_a_minute(platform: Platform) -> None:
    made = await make(platform, "ada")
    tokens, ada = platform.parts.api_tokens, await platform.sign_in("ada")

    async def last_used() -> float | None:
        (view,) = await tokens.mine(ada)
        return view.last_used_at.timestamp() if view.last_used_at else None

    await tokens.find(made.secret, touch=False)
    assert await last_used() is None
    await tokens.find(made.secret)
    first = await last_used()
    assert first == platform.clock.at.timestamp()
    platform.advance(50)
    await tokens.find(made.secret)
    assert await last_used() == first
    platform.advance(20)
    await tokens.find(made.secret)
    assert await last_used() == platform.clock.at.timestamp()


async def test_names_scopes_and_numbers_have_limits(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    tokens = platform.parts.api_tokens
    wrong: list[tuple[str, list[str], int | None, str]] = [
        (" ", ["read"], 7, "name"),
        ("x" * 81, ["read"], 7, "name"),
        ("a\u202eb", ["read"], 7, "name"),
        ("x", [], 7, "scopes"),
        ("x", ["read", "root"], 7, "scopes"),
        ("x", ["read"], 8, "expiry"),
        ("x", ["read"], 0, "expiry"),
    ]
    for name, scopes, days, field in wrong:
        with pytest.raises(InvalidInput) as refused:
            await tokens.make(ada, name, scopes, days)
        assert refused.value.field == field
        assert refused.value.then
    for number in range(MOST_TOKENS):
        tokens._rates = RateService(platform.parts.settings)  # Others count how many are made in an hour.
        await tokens.make(ada, f"t{number}", ["read"], 7)
    platform.advance(8 * 86400)
    ada = await platform.sign_in("ada")
    with pytest.raises(QuotaExceeded):
        await tokens.make(ada, "one more", ["read"], 7)
    await tokens.revoke(ada, (await tokens.mine(ada))[0].id)
    await tokens.make(ada, "one more", ["read"], 7)
    await tokens.make(await platform.sign_in("elena"), "hers", ["read"], 7)


async def test_the_gate_lets_a_token_of_the_owner_in_for_the_scope_launch(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    access, settings = platform.parts.access, platform.parts.settings
    host, nowhere = settings.environment_host(view.slug), settings.environment_host("no-such-k7q2mx")
    hers = await make(platform, "elena", "launch")

    async def verdict(secret: str, at: str = host, cookie: str = "") -> Verdict:
        return (await access.authorize(at, cookie, token=secret)).verdict

    assert await verdict(hers.secret) is Verdict.PASS
    assert await verdict(hers.secret, nowhere) is Verdict.NOT_YOURS
    other = (await make(platform, "ravi", "launch", "read")).secret
    assert await verdict(other) is await verdict(other, nowhere) is Verdict.NOT_YOURS
    reader = (await make(platform, "elena", "read", "files")).secret
    assert await verdict(reader) is await verdict(reader, nowhere) is Verdict.NO_SCOPE
    assert await verdict(token_of(1)) is await verdict(token_of(1), nowhere) is Verdict.SIGN_IN
    # A token is judged alone: a good cookie beside a bad one opens nothing.
    address = await access.mint(elena, view.id)
    cookie = f"{ENVIRONMENT_COOKIE}={await access.redeem(host, address.split('code=')[1])}"
    assert await verdict("", cookie=cookie) is Verdict.PASS
    assert await verdict(token_of(1), cookie=cookie) is Verdict.SIGN_IN
    await platform.parts.environments.stop(elena, view.id)
    assert await verdict(hers.secret) is Verdict.AT_REST
    await platform.parts.api_tokens.revoke(elena, hers.view.id)
    assert await verdict(hers.secret) is Verdict.SIGN_IN


async def test_tokens_are_not_made_without_end(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    with pytest.raises(TooManyRequests):
        for number in range(MOST_TOKENS):
            await platform.parts.api_tokens.make(ada, f"t{number}", ["read"], 7)
    assert len(await platform.parts.api_tokens.mine(ada)) < MOST_TOKENS


async def test_tokens_of_people_nobody_vouches_for_any_more_are_revoked(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, sign_ins = await make(platform, "ada"), platform.parts.sign_ins
    assert await sign_ins.shut_old_ways(SYSTEM) == 0
    assert await platform.parts.api_tokens.find(made.secret) is not None
    # Yesterday's test people, in a platform that asks a provider now.
    monkeypatch.setattr(sign_ins, "_settings", SimpleNamespace(identity="oidc", admins=()))
    assert await sign_ins.shut_old_ways(SYSTEM) == 1
    assert await platform.parts.api_tokens.find(made.secret) is None
