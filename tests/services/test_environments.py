"""What people may ask of environments, and what they are told when they may not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from cmbcluster.domain.actors import ANONYMOUS, Actor, Tier
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.domain.orders import CustomOrder, LaunchOrder
from cmbcluster.domain.sources import PythonSource
from cmbcluster.domain.tiers import LIMITS
from cmbcluster.errors import Conflict, InvalidInput, NotFound, NotSignedIn, QuotaExceeded, UserError
from tests.platform import Platform

CUSTOM = CustomOrder("healpy>=1.16\n# a comment\n", "3.11", "", "python -m http.server {port}", "8501", "/")


async def test_launch_is_queued_with_activity(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    view = await platform.launch(ada, "Planck Lensing")
    assert (view.name, view.phase) == ("planck-lensing", Phase.QUEUED)
    assert view.slug.startswith("planck-lensing-")
    assert len(view.slug) == len("planck-lensing-") + 6
    page = await platform.parts.activity.page(ada, kind="launched")
    assert [row.environment_name for row in page.rows] == ["planck-lensing"]
    assert page.rows[0].operation_id == "op-ada"


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("name", ""),
        ("name", "x" * 10_000),
        ("name", "a\x00b"),
        ("name", "9planck"),
        ("name", "a--b"),
        ("name", "ünicode"),
        ("name", "a/b"),
    ],
)
async def test_bad_names_are_refused_and_leave_nothing(platform: Platform, field: str, name: str) -> None:
    ada = await platform.sign_in("ada")
    with pytest.raises(InvalidInput) as refused:
        await platform.launch(ada, name)
    assert refused.value.field == field
    assert refused.value.then
    assert (await platform.parts.environments.page(ada)).total == 0


async def test_unknown_application_and_size(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    with pytest.raises(NotFound, match="no such application"):
        await platform.parts.environments.launch(ada, LaunchOrder("nothing", "a", "small", 3600))
    with pytest.raises(InvalidInput, match="no such size"):
        await platform.parts.environments.launch(ada, LaunchOrder("tiny", "a", "huge", 3600))
    with pytest.raises(QuotaExceeded, match="Your tier allows 2 CPU"):
        await platform.parts.environments.launch(ada, LaunchOrder("tiny", "a", "large", 3600))
    with pytest.raises(QuotaExceeded, match="60 min at most"):
        await platform.parts.environments.launch(ada, LaunchOrder("tiny", "a", "small", 7200))


async def test_name_is_taken_until_it_is_gone(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    first = await platform.running(elena)
    with pytest.raises(InvalidInput, match="called planck already"):
        await platform.launch(elena)
    await platform.parts.environments.delete(elena, first.id, typed_name="", remove_workspace=False)
    await platform.settle()
    again = await platform.launch(elena)
    assert again.slug != first.slug


async def test_twenty_parallel_launches_never_pass_the_limit(platform: Platform) -> None:
    elena = await platform.sign_in("elena")

    async def one(number: int) -> str:
        try:
            await platform.launch(elena, f"e{number}")
        except QuotaExceeded:
            return "refused"
        return "ok"

    results = await asyncio.gather(*(one(number) for number in range(20)))
    assert results.count("ok") == 5
    assert (await platform.parts.accounts.limits(elena)).running == 5


async def test_same_name_at_the_same_moment_makes_one(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    results = await asyncio.gather(*(platform.launch(elena, "same") for _ in range(4)), return_exceptions=True)
    assert sum(not isinstance(r, Exception) for r in results) == 1
    assert all(isinstance(r, InvalidInput) for r in results if isinstance(r, Exception))


async def test_kept_limit(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    for number in range(3):
        view = await platform.running(ada, f"e{number}")
        await platform.parts.environments.stop(ada, view.id)
        await platform.settle()
    with pytest.raises(QuotaExceeded, match="keep 3 of 3"):
        await platform.launch(ada, "e4")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("requirements", {"requirements": ""}),
        ("requirements", {"requirements": "not a package!!"}),
        ("requirements", {"requirements": "-e ."}),
        ("requirements", {"requirements": "x @ https://example.org/x.whl"}),
        ("python", {"python": "2.7"}),
        ("python", {"python": "three"}),
        ("as_of", {"as_of": "yesterday"}),
        ("as_of", {"as_of": "2099-01-01"}),
        ("command", {"command": ""}),
        ("command", {"command": "python app.py && rm -rf /"}),
        ("command", {"command": "python app.py | tee log"}),
        ("command", {"command": "python app.py $HOME"}),
        ("command", {"command": 'python "`id`"'}),
        ("command", {"command": "python 'app.py"}),
        ("command", {"command": "python\napp.py"}),
        ("port", {"port": "80"}),
        ("port", {"port": "70000"}),
        ("port", {"port": "eight"}),
        ("health_path", {"health_path": "health"}),
        ("health_path", {"health_path": "/a\r\nHost: b"}),
    ],
)
async def test_custom_form_names_the_wrong_field(platform: Platform, field: str, change: dict[str, str]) -> None:
    from dataclasses import replace

    ada = await platform.sign_in("ada")
    order = LaunchOrder("custom", "mine", "small", 3600, replace(CUSTOM, **change))
    with pytest.raises(InvalidInput) as refused:
        await platform.parts.environments.launch(ada, order)
    assert refused.value.field == field
    assert refused.value.what
    assert refused.value.then


async def test_custom_application_is_kept_as_written(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    view = await platform.parts.environments.launch(ada, LaunchOrder("custom", "mine", "small", 3600, CUSTOM))
    assert isinstance(view.source, PythonSource)
    assert view.source.requirements == ("healpy>=1.16",)
    assert view.program.command == ("python", "-m", "http.server", "{port}")


async def test_quoted_operators_are_arguments(platform: Platform) -> None:
    from dataclasses import replace

    ada = await platform.sign_in("ada")
    order = LaunchOrder("custom", "m", "small", 3600, replace(CUSTOM, command="python -c 'a; $b' \"x|y\""))
    view = await platform.parts.environments.launch(ada, order)
    assert view.program.command == ("python", "-c", "a; $b", "x|y")


async def test_another_persons_environment_answers_like_a_missing_one(platform: Platform) -> None:
    elena, ada = await platform.sign_in("elena"), await platform.sign_in("ada")
    theirs = await platform.running(elena)
    services = platform.parts.environments
    calls: dict[str, Callable[[UUID], Awaitable[object]]] = {
        "get": lambda i: services.get(ada, i),
        "start": lambda i: services.start(ada, i),
        "stop": lambda i: services.stop(ada, i),
        "extend": lambda i: services.extend(ada, i),
        "rename": lambda i: services.rename(ada, i, "mine"),
        "update": lambda i: services.update(ada, i),
        "delete": lambda i: services.delete(ada, i, typed_name="planck", remove_workspace=True),
        "usage": lambda i: platform.parts.insights.usage(ada, i),
        "mint": lambda i: platform.parts.access.mint(ada, i),
    }
    for name, call in calls.items():
        answers = []
        for environment_id in (theirs.id, uuid4()):
            with pytest.raises(NotFound) as refused:
                await call(environment_id)
            answers.append(str(refused.value))
        assert answers[0] == answers[1], name
    with pytest.raises(NotFound):
        [line async for line in platform.parts.insights.logs(ada, theirs.id, offset=0, follow=False)]
    assert (await services.page(ada)).rows == ()
    assert (await services.get(elena, theirs.id)).phase is Phase.RUNNING


async def test_anonymous_may_nothing(platform: Platform) -> None:
    with pytest.raises(NotSignedIn):
        await platform.parts.environments.page(ANONYMOUS)
    with pytest.raises(NotSignedIn):
        await platform.launch(ANONYMOUS)


async def test_stop_start_keeps_packages_and_size(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    digest = view.lock_digest
    assert digest.startswith("sha256:")
    platform.resolver.edition = 2
    await platform.parts.environments.stop(elena, view.id)
    await platform.settle()
    with pytest.raises(UserError):
        await platform.parts.environments.extend(elena, view.id)
    again = await platform.parts.environments.start(elena, view.id, size="medium")
    assert (again.phase, again.cpu_millis) == (Phase.QUEUED, 2000)
    await platform.settle()
    after = await platform.parts.environments.get(elena, view.id)
    assert (after.phase, after.lock_digest) == (Phase.RUNNING, digest)


async def test_update_takes_the_newest_packages_at_the_next_start(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    with pytest.raises(Conflict, match="not stopped"):
        await platform.parts.environments.update(elena, view.id)
    await platform.parts.environments.stop(elena, view.id)
    await platform.settle()
    platform.resolver.edition = 2
    await platform.parts.environments.update(elena, view.id)
    await platform.parts.environments.start(elena, view.id)
    await platform.settle()
    after = await platform.parts.environments.get(elena, view.id)
    assert after.phase is Phase.RUNNING
    assert after.lock_digest != view.lock_digest


async def test_a_start_gives_the_workspace_that_its_tier_has_now(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    view = await platform.running(ada)

    async def started_as(actor: Actor) -> int:
        await platform.parts.environments.stop(actor, view.id)
        await platform.settle()
        await platform.parts.environments.start(actor, view.id)
        await platform.settle()
        async with platform.parts.database.reading() as work:
            row = await work.environments.by_id(view.id)
        assert row is not None
        assert row.phase == Phase.RUNNING
        return row.workspace_bytes

    free, premium = (LIMITS[tier].workspace_bytes for tier in (Tier.FREE, Tier.PREMIUM))
    assert free < premium
    assert await started_as(ada) == free
    assert await started_as(replace(ada, tier=Tier.PREMIUM)) == premium
    # What is in it stays in it.
    assert await started_as(ada) == premium


async def test_removing_the_workspace_needs_the_name(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    with pytest.raises(InvalidInput) as refused:
        await platform.parts.environments.delete(elena, view.id, typed_name="plank", remove_workspace=True)
    assert refused.value.field == "typed_name"
    await platform.settle()
    assert (await platform.parts.environments.get(elena, view.id)).phase is Phase.RUNNING
    await platform.parts.environments.delete(elena, view.id, typed_name="planck", remove_workspace=True)
    await platform.settle()
    assert view.slug not in platform.runtime.workspaces
    with pytest.raises(NotFound):
        await platform.parts.environments.get(elena, view.id)


async def test_free_tier_extends_once(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    view = await platform.running(ada)
    assert view.deadline_at is not None
    longer = await platform.parts.environments.extend(ada, view.id)
    assert longer.deadline_at is not None
    assert (longer.deadline_at - view.deadline_at).total_seconds() == 3600
    assert not longer.can_extend
    with pytest.raises(QuotaExceeded, match="extend once"):
        await platform.parts.environments.extend(ada, view.id)


async def test_list_searches_filters_sorts_and_pages(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    for name in ("alpha", "beta", "gamma"):
        await platform.running(elena, name)
        platform.advance(60)
    services = platform.parts.environments
    await services.stop(elena, (await services.page(elena, search="beta")).rows[0].id)
    await platform.settle()
    assert [r.name for r in (await services.page(elena)).rows] == ["gamma", "beta", "alpha"]
    assert [r.name for r in (await services.page(elena, sort="name")).rows] == ["alpha", "beta", "gamma"]
    assert [r.name for r in (await services.page(elena, phase="stopped")).rows] == ["beta"]
    page = await services.page(elena, sort="name", offset=1, limit=1)
    assert ([r.name for r in page.rows], page.total) == (["beta"], 3)
    assert (await services.page(elena, search="100%_")).total == 0
    assert {r.name for r in await services.up_now(elena)} == {"alpha", "gamma"}


@pytest.mark.parametrize("search", ["\x00", "planck\n", "\u202eevil"])
async def test_invisible_characters_are_not_looked_for(platform: Platform, search: str) -> None:
    elena = await platform.sign_in("elena")
    environments = platform.parts.environments
    for asked in (environments.page(elena, search=search), environments.newest(elena, search=search)):
        with pytest.raises(InvalidInput, match="invisible characters"):
            await asked
