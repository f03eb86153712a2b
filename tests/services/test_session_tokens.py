"""The signed token of a session: renewed in silence, worth nothing without its row, and a copy gives itself away."""

from __future__ import annotations

from cmbcluster.identity.development import DevelopmentIdentity
from cmbcluster.services.sessions import OVERLAP_SECONDS
from tests.platform import Platform

HALF = 301
WHOLE = 601


async def signed_in(platform: Platform, person: str = "ada") -> str:
    identity = DevelopmentIdentity().sign_in(person)
    return await platform.parts.sessions.sign_in(identity, browser="Firefox", address="127.0.0.1")


async def test_a_young_token_is_admitted_and_kept(platform: Platform) -> None:
    token = await signed_in(platform)
    admission = await platform.parts.sessions.admit(token)
    assert admission.actor is not None
    assert admission.actor.name == "Ada Lovell"
    assert admission.renewed == ""


async def test_a_token_is_renewed_once_after_half_its_life(platform: Platform) -> None:
    sessions = platform.parts.sessions
    token = await signed_in(platform)
    platform.advance(HALF)
    first, second = await sessions.admit(token), await sessions.admit(token)
    assert first.renewed != ""
    assert (second.actor, second.renewed) == (first.actor, "")  # One of parallel requests brings the new one.
    again = await sessions.admit(first.renewed)
    assert (again.actor, again.renewed) == (first.actor, "")


async def test_an_expired_token_finds_nobody_and_is_renewed_while_the_session_lives(platform: Platform) -> None:
    sessions = platform.parts.sessions
    token = await signed_in(platform)
    platform.advance(WHOLE)
    assert await sessions.find(token) is None
    assert await sessions.find(token, opened=True) is not None
    admission = await sessions.admit(token)
    assert admission.actor is not None
    assert await sessions.find(admission.renewed) is not None


async def test_a_token_does_not_outlive_its_session(platform: Platform) -> None:
    sessions = platform.parts.sessions
    token = await signed_in(platform)
    platform.advance(1801)
    assert (await sessions.admit(token)).actor is None
    other = await signed_in(platform)
    actor = (await sessions.admit(other)).actor
    assert actor is not None
    await sessions.sign_out(actor)
    assert (await sessions.admit(other)).actor is None
    assert await sessions.find(other, opened=True) is None


async def test_renewing_is_no_activity_of_the_person(platform: Platform) -> None:
    sessions = platform.parts.sessions
    token = await signed_in(platform)
    for _ in range(4):
        platform.advance(400)
        token = (await sessions.admit(token)).renewed or token
    platform.advance(300)
    assert (await sessions.admit(token)).actor is None


async def test_a_copied_token_that_comes_back_later_ends_the_session(platform: Platform) -> None:
    sessions = platform.parts.sessions
    copied = await signed_in(platform)
    platform.advance(HALF)
    renewed = (await sessions.admit(copied)).renewed
    await sessions.admit(renewed)  # The browser has it now.
    platform.advance(HALF)
    newest = (await sessions.admit(renewed)).renewed
    assert (await sessions.admit(newest)).actor is not None
    assert (await sessions.admit(copied)).actor is None
    assert (await sessions.admit(newest)).actor is None
    ada = await platform.sign_in("ada")
    kinds = [row.kind for row in (await platform.parts.activity.page(ada)).rows]
    assert "session_copied" in kinds


async def test_an_answer_that_never_reached_the_browser_signs_nobody_out(platform: Platform) -> None:
    sessions = platform.parts.sessions
    token = await signed_in(platform)
    platform.advance(HALF)
    lost = (await sessions.admit(token)).renewed
    platform.advance(WHOLE)
    again = await sessions.admit(token)
    assert again.actor is not None
    assert again.renewed not in ("", lost)
    assert (await sessions.admit(again.renewed)).actor is not None


async def test_requests_that_were_under_way_are_not_taken_for_copies(platform: Platform) -> None:
    sessions = platform.parts.sessions
    token = await signed_in(platform)
    platform.advance(WHOLE)
    renewed = (await sessions.admit(token)).renewed
    await sessions.admit(renewed)
    platform.advance(OVERLAP_SECONDS - 1)
    assert (await sessions.admit(token)).actor is not None
    platform.advance(2)
    assert (await sessions.admit(token)).actor is None


async def test_staying_moves_the_idle_end_and_asking_does_not(platform: Platform) -> None:
    sessions = platform.parts.sessions
    actor = (await sessions.admit(await signed_in(platform))).actor
    assert actor is not None
    begun = platform.clock.at
    platform.advance(1000)
    standing = await sessions.standing(actor)
    assert (standing.ends_at - begun).total_seconds() == 1800
    stayed = await sessions.stay(actor)
    assert (stayed.ends_at - begun).total_seconds() == 2800
    assert (stayed.latest_at - begun).total_seconds() == 43200


async def test_near_the_absolute_end_staying_helps_no_further(platform: Platform) -> None:
    sessions = platform.parts.sessions
    actor = (await sessions.admit(await signed_in(platform))).actor
    assert actor is not None
    for _ in range(42):
        platform.advance(1000)
        standing = await sessions.stay(actor)
    assert standing.ends_at == standing.latest_at
