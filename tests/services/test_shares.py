"""Sharing: who is found, what a guest may do, and how at once it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from cmbcluster.db.models import User
from cmbcluster.domain.actors import SYSTEM, Actor, Scope
from cmbcluster.domain.gate import ENVIRONMENT_COOKIE, Verdict
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.errors import Conflict, Forbidden, InvalidInput, NotFound, QuotaExceeded, TooManyRequests
from cmbcluster.services.shares import MOST_GUESTS
from tests.platform import Platform


async def make_person(platform: Platform, name: str, **more: object) -> UUID:
    """Somebody who signed in once."""
    values = {"email": f"{name.lower()}@example.org", "email_verified": True, **more}
    async with platform.parts.database.transaction() as work:
        user = User(
            provider="test",
            subject=uuid4().hex,
            name=name,
            role="user",
            tier="free",
            created_at=platform.clock.at,
            **values,  # type: ignore[arg-type]
        )
        work.users.add(user)
    return user.id


async def enter(platform: Platform, guest: Actor, view: EnvironmentView) -> tuple[str, str]:
    """Open an environment as the guest's browser does: its host, and the cookie it gets there."""
    url = await platform.parts.access.mint(guest, view.id)
    host = platform.parts.settings.environment_host(view.slug)
    value = await platform.parts.access.redeem(host, url.split("code=")[1])
    return host, f"{ENVIRONMENT_COOKIE}={value}"


@pytest.mark.parametrize("words", ["ravi@example.org", " RAVI@Example.org ", "Ravi Nair", " Ravi  Nair"])
async def test_a_guest_opens_it_and_both_read_so(platform: Platform, words: str) -> None:
    elena, ravi = await platform.sign_in("elena"), await platform.sign_in("ravi")
    view = await platform.running(elena)
    shares, activity = platform.parts.shares, platform.parts.activity
    with pytest.raises(NotFound):
        await platform.parts.access.mint(ravi, view.id)
    guest = await shares.share(elena, view.id, words)
    assert (guest.id, guest.name) == (ravi.user_id, "Ravi Nair")
    assert [each.name for each in await shares.of_environment(elena, view.id)] == ["Ravi Nair"]
    (seen,) = await shares.with_me(ravi)
    assert (seen.id, seen.name, seen.application_name, seen.owner_name) == (
        view.id,
        "planck",
        "Tiny",
        "Elena Marchetti",
    )
    answer = await platform.parts.access.authorize(*await enter(platform, ravi, view))
    assert answer.verdict is Verdict.PASS
    assert answer.port > 0

    owners = (await activity.page(elena, environment_id=view.id)).rows
    assert [(row.kind, row.actor_name, row.detail) for row in owners[:2]] == [
        ("opened", "Ravi Nair", ""),
        ("shared", "", "With Ravi Nair"),
    ]
    assert owners[0].address == ""  # Where a guest sits is not the owner's business.
    guests = [row for row in (await activity.page(ravi)).rows if row.environment_name]
    assert [(row.kind, row.actor_name, row.environment_id) for row in guests] == [
        ("opened", "", None),
        ("shared", "Elena Marchetti", None),
    ]
    assert [row.address for row in guests] == ["127.0.0.1", ""]


async def test_a_guest_may_do_nothing_else(platform: Platform) -> None:
    elena, ravi = await platform.sign_in("elena"), await platform.sign_in("ravi")
    view = await platform.running(elena)
    parts = platform.parts
    await parts.shares.share(elena, view.id, "ravi@example.org")
    environments, missing = parts.environments, uuid4()
    for which in (view.id, missing):
        for act in (
            environments.get(ravi, which),
            environments.start(ravi, which),
            environments.stop(ravi, which),
            environments.extend(ravi, which),
            environments.rename(ravi, which, "mine"),
            environments.update(ravi, which),
            environments.delete(ravi, which, typed_name="planck", remove_workspace=True),
            anext(parts.insights.logs(ravi, which, offset=0, follow=False)),
            parts.insights.usage(ravi, which),
            parts.insights.workspace_bytes(ravi, which),
            parts.shares.of_environment(ravi, which),
            parts.shares.share(ravi, which, "ada@example.org"),
            parts.shares.withdraw(ravi, which, ravi.person()),
        ):
            with pytest.raises(NotFound) as refused:
                await act
            assert refused.value.what == "There is no such environment, or it is not yours."
    assert (await environments.page(ravi)).total == 0
    assert await environments.up_now(ravi) == ()
    assert (await parts.activity.page(ravi, environment_id=view.id)).total == 0
    assert (await environments.get(elena, view.id)).name == "planck"


async def test_a_guests_token_reaches_nothing_of_the_owners(platform: Platform) -> None:
    elena, ravi = await platform.sign_in("elena"), await platform.sign_in("ravi")
    view = await platform.running(elena)
    await platform.parts.shares.share(elena, view.id, "ravi@example.org")
    made = await platform.parts.api_tokens.make(ravi, "laptop", [scope.value for scope in Scope], 7)
    host = platform.parts.settings.environment_host(view.slug)
    assert (await platform.parts.access.authorize(host, "", token=made.secret)).verdict is Verdict.NOT_YOURS
    token_actor = replace(ravi, session_id=None, scopes=frozenset(Scope))
    with pytest.raises(Forbidden):
        await platform.parts.access.mint(token_actor, view.id)


async def withdraw(platform: Platform, elena: Actor, view: EnvironmentView, ravi: Actor) -> None:
    await platform.parts.shares.withdraw(elena, view.id, ravi.person())


async def delete(platform: Platform, elena: Actor, view: EnvironmentView, ravi: Actor) -> None:
    await platform.parts.environments.delete(elena, view.id, typed_name="", remove_workspace=False)
    assert await platform.parts.shares.of_environment(elena, view.id) == ()


async def disable_owner(platform: Platform, elena: Actor, view: EnvironmentView, ravi: Actor) -> None:
    await platform.parts.accounts.disable(SYSTEM, elena.person())


async def disable_guest(platform: Platform, elena: Actor, view: EnvironmentView, ravi: Actor) -> None:
    await make_admin(platform)
    await platform.parts.accounts.disable(SYSTEM, ravi.person())


async def make_admin(platform: Platform) -> None:
    # Ravi is the only admin of the test people, and the last one cannot be disabled.
    user_id = await make_person(platform, "Root")
    async with platform.parts.database.transaction() as work:
        user = await work.users.by_id(user_id)
        assert user is not None
        user.role = "admin"


End = Callable[[Platform, Actor, EnvironmentView, Actor], Awaitable[None]]
ENDS: list[tuple[End, Verdict]] = [
    (withdraw, Verdict.NOT_YOURS),
    (delete, Verdict.NOT_YOURS),
    (disable_owner, Verdict.NOT_YOURS),
    (disable_guest, Verdict.SIGN_IN),
]


@pytest.mark.parametrize(("end", "verdict"), ENDS)
async def test_it_ends_at_once(platform: Platform, end: End, verdict: Verdict) -> None:
    elena, ravi = await platform.sign_in("elena"), await platform.sign_in("ravi")
    view = await platform.running(elena)
    await platform.parts.shares.share(elena, view.id, "ravi@example.org")
    unused = await platform.parts.access.mint(ravi, view.id)
    host, cookie = await enter(platform, ravi, view)
    async with platform.bus.subscribe("gate", "sessions") as heard:
        await end(platform, elena, view, ravi)
        await asyncio.wait_for(anext(heard), 2)
    platform.parts.access.forget_passes()  # What the process does when it hears these.
    assert (await platform.parts.access.authorize(host, cookie)).verdict is verdict
    if end is not disable_guest:
        assert await platform.parts.shares.with_me(ravi) == ()
        with pytest.raises(NotFound):
            await platform.parts.access.mint(ravi, view.id)
        late = await platform.parts.access.redeem(host, unused.split("code=")[1])
        answer = await platform.parts.access.authorize(host, f"{ENVIRONMENT_COOKIE}={late}")
        assert answer.verdict is Verdict.NOT_YOURS


async def test_a_guest_reads_that_it_ended_and_nothing_of_how(platform: Platform) -> None:
    elena, ravi = await platform.sign_in("elena"), await platform.sign_in("ravi")
    view = await platform.running(elena)
    await platform.parts.shares.share(elena, view.id, "ravi@example.org")
    made = await platform.parts.api_tokens.make(elena, "secret plan", ["read", "launch"], 7)
    script = await platform.parts.api_tokens.find(made.secret)
    assert script is not None
    await platform.parts.environments.delete(
        replace(script, address="10.9.8.7"), view.id, typed_name="", remove_workspace=False
    )
    (ended, *_) = (await platform.parts.activity.page(ravi)).rows
    assert (ended.kind, ended.actor_name, ended.environment_name) == ("unshared", "Elena Marchetti", "planck")
    assert (ended.detail, ended.address, ended.environment_id) == ("", "", None)


async def test_an_owner_who_is_let_in_again_shares_again(platform: Platform) -> None:
    elena, ravi = await platform.sign_in("elena"), await platform.sign_in("ravi")
    view = await platform.running(elena)
    await platform.parts.shares.share(elena, view.id, "ravi@example.org")
    await platform.parts.accounts.disable(SYSTEM, elena.person())
    await platform.parts.accounts.enable(SYSTEM, elena.person())
    assert len(await platform.parts.shares.with_me(ravi)) == 1


async def test_without_a_cache_of_answers_two_seconds_are_the_most(platform: Platform) -> None:
    assert type(platform.parts.settings).model_fields["session_cache_seconds"].default <= 2


async def test_who_cannot_be_found_is_refused_in_the_same_words(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    await make_person(platform, "Unverified", email_verified=False)
    await make_person(platform, "Chosen Name", email="chosen@example.org", name_chosen=True)
    await make_person(platform, "Gone", disabled_at=platform.clock.at)
    said = set()
    for words in (
        "nobody@example.org",
        "unverified@example.org",
        "gone@example.org",
        "Nobody",
        "Chosen Name",
        "Gone",
        "%@example.org",
        "_nverified@example.org",
    ):
        with pytest.raises(InvalidInput) as refused:
            await platform.parts.shares.share(elena, view.id, words)
        said.add((refused.value.field, str(refused.value)))
    assert len(said) == 1
    assert said.pop()[0] == "person"
    assert await platform.parts.shares.of_environment(elena, view.id) == ()
    assert (await platform.parts.shares.share(elena, view.id, "chosen@example.org")).name == "Chosen Name"


@pytest.mark.parametrize("words", ["", "   ", "x" * 400])
async def test_nothing_to_look_for(platform: Platform, words: str) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    with pytest.raises(InvalidInput):
        await platform.parts.shares.share(elena, view.id, words)


async def test_oneself_twice_two_of_a_name_and_too_many(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    share = platform.parts.shares.share
    with pytest.raises(InvalidInput, match="This is you"):
        await share(elena, view.id, "elena@example.org")
    for number in range(MOST_GUESTS + 1):
        await make_person(platform, f"P{number}")
    await share(elena, view.id, "P0")
    with pytest.raises(InvalidInput, match="can open it already"):
        await share(elena, view.id, "p0@example.org")
    await make_person(platform, "P1", email="other@example.org")
    with pytest.raises(InvalidInput, match="More than one account"):
        await share(elena, view.id, "P1")
    for number in range(1, MOST_GUESTS):
        await share(elena, view.id, f"p{number}@example.org")
    with pytest.raises(QuotaExceeded):
        await share(elena, view.id, f"p{MOST_GUESTS}@example.org")
    await platform.parts.shares.withdraw(
        elena, view.id, (await platform.parts.shares.of_environment(elena, view.id))[0].id
    )
    await share(elena, view.id, f"p{MOST_GUESTS}@example.org")


async def test_trying_addresses_is_bounded(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    for number in range(30):
        with pytest.raises(InvalidInput):
            await platform.parts.shares.share(elena, view.id, f"guess{number}@example.org")
    with pytest.raises(TooManyRequests):
        await platform.parts.shares.share(elena, view.id, "ravi@example.org")


async def test_what_is_not_shared_cannot_be_withdrawn_nor_what_goes_be_shared(platform: Platform) -> None:
    elena, ravi = await platform.sign_in("elena"), await platform.sign_in("ravi")
    view = await platform.running(elena)
    for user_id in (ravi.person(), elena.person(), uuid4()):
        with pytest.raises(NotFound, match="not shared with this person"):
            await platform.parts.shares.withdraw(elena, view.id, user_id)
    await platform.parts.environments.delete(elena, view.id, typed_name="", remove_workspace=False)
    with pytest.raises(Conflict):
        await platform.parts.shares.share(elena, view.id, "ravi@example.org")


async def test_a_share_opens_one_environment_and_no_other(platform: Platform) -> None:
    elena, ravi = await platform.sign_in("elena"), await platform.sign_in("ravi")
    one, two = await platform.running(elena, "one"), await platform.running(elena, "two")
    await platform.parts.shares.share(elena, one.id, "ravi@example.org")
    _, cookie = await enter(platform, ravi, one)
    other = platform.parts.settings.environment_host(two.slug)
    assert (await platform.parts.access.authorize(other, cookie)).verdict is Verdict.SIGN_IN
    with pytest.raises(NotFound):
        await platform.parts.access.mint(ravi, two.id)
    ada = await platform.sign_in("ada")
    with pytest.raises(NotFound):
        await platform.parts.access.mint(ada, one.id)


async def test_a_guest_is_told_that_it_does_not_run_and_not_how_to_start_it(platform: Platform) -> None:
    elena, ravi = await platform.sign_in("elena"), await platform.sign_in("ravi")
    view = await platform.running(elena)
    await platform.parts.shares.share(elena, view.id, "ravi@example.org")
    host, cookie = await enter(platform, ravi, view)
    await platform.parts.environments.stop(elena, view.id)
    await platform.settle()
    platform.parts.access.forget_passes()
    answer = await platform.parts.access.authorize(host, cookie)
    assert (answer.verdict, answer.guest) == (Verdict.AT_REST, True)
    host, cookie = await enter(platform, elena, view)
    assert not (await platform.parts.access.authorize(host, cookie)).guest
