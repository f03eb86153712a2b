"""Accounts at registries: they come in, are never shown again, and leave towards their registry alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmbcluster.domain.actors import SYSTEM
from cmbcluster.domain.images import check_image
from cmbcluster.errors import InvalidInput, NotFound, QuotaExceeded
from cmbcluster.images.port import PlatformAccount
from cmbcluster.services import registries as module
from cmbcluster.services.registries import RegistryService
from tests.platform import SEALER, Platform, open_platform

WORD = "a-word-to-look-for"


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    rules = ("docker.io", "ghcr.io/team/*", "quay.io", "registry.example.org:5000")
    async with open_platform(tmp_path, image_registries=rules) as opened:
        yield opened


def service_with(platform: Platform, *accounts: PlatformAccount) -> RegistryService:
    parts = platform.parts
    return RegistryService(parts.database, parts.bus, parts.settings, parts.rates, SEALER, accounts)


async def test_an_account_is_kept_shown_without_its_secret_used_and_removed(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    service = platform.parts.registries
    view = await service.enter(ada, " GHCR.io ", " ada-l ", f" {WORD} ")
    assert (view.registry, view.username) == ("ghcr.io", "ada-l")
    assert await service.mine(ada) == (view,)
    assert WORD not in repr(view)
    source = check_image("ghcr.io/team/app:1")
    assert ada.user_id is not None
    found = await service.credentials_for(SYSTEM, ada.user_id, source)
    assert found is not None
    assert (found.registry, found.username, found.secret) == ("ghcr.io", "ada-l", WORD)
    assert await service.credentials_for(SYSTEM, ada.user_id, check_image("quay.io/x/y")) is None
    await service.remove(ada, view.id)
    assert await service.mine(ada) == ()
    assert await service.credentials_for(SYSTEM, ada.user_id, source) is None
    async with platform.parts.database.reading() as work:
        assert await work.registry_accounts.every() == []
    kinds = [row.kind for row in (await platform.parts.activity.page(ada)).rows]
    assert kinds[:2] == ["registry_removed", "registry_added"]


async def test_nothing_of_the_secret_is_in_the_files(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    await platform.parts.registries.enter(ada, "ghcr.io", "ada-l", WORD)
    files = [path for path in platform.parts.settings.data_dir.rglob("*") if path.is_file()]
    assert files
    assert not any(WORD.encode() in path.read_bytes() for path in files)


async def test_the_same_registry_again_is_a_new_secret_for_it(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    service = platform.parts.registries
    first = await service.enter(ada, "docker.io", "ada", "old")
    second = await service.enter(ada, "https://index.docker.io/v1/", "ada2", "new")
    assert first.id == second.id
    assert ada.user_id is not None
    found = await service.credentials_for(SYSTEM, ada.user_id, check_image("python"))
    assert found is not None
    assert (found.username, found.secret) == ("ada2", "new")


async def test_somebody_elses_account_is_like_a_missing_one(platform: Platform) -> None:
    ada, ravi = await platform.sign_in("ada"), await platform.sign_in("ravi")
    service = platform.parts.registries
    view = await service.enter(ada, "ghcr.io", "ada", WORD)
    assert await service.mine(ravi) == ()
    with pytest.raises(NotFound):
        await service.remove(ravi, view.id)
    assert ravi.user_id is not None
    assert await service.credentials_for(SYSTEM, ravi.user_id, check_image("ghcr.io/team/app")) is None
    assert len(await service.mine(ada)) == 1


async def test_a_sealed_secret_moved_to_another_row_opens_nothing(platform: Platform) -> None:
    ada, ravi = await platform.sign_in("ada"), await platform.sign_in("ravi")
    service = platform.parts.registries
    await service.enter(ada, "ghcr.io", "ada", WORD)
    await service.enter(ravi, "quay.io", "ravi", "other")
    async with platform.parts.database.transaction() as work:
        assert ada.user_id is not None
        assert ravi.user_id is not None
        from_ada = await work.registry_accounts.at(ada.user_id, "ghcr.io")
        to_ravi = await work.registry_accounts.at(ravi.user_id, "quay.io")
        assert from_ada is not None
        assert to_ravi is not None
        to_ravi.sealed = from_ada.sealed
    assert await service.credentials_for(SYSTEM, ravi.user_id, check_image("quay.io/x/y")) is None


@pytest.mark.parametrize(
    ("registry", "username", "secret", "field"),
    [
        ("", "ada", "x", "registry"),
        ("not a host", "ada", "x", "registry"),
        ("elsewhere.example.org", "ada", "x", "registry"),
        ("registry.example.org", "ada", "x", "registry"),  # another port is another registry
        ("ghcr.io", "", "x", "username"),
        ("ghcr.io", "a:b", "x", "username"),
        ("ghcr.io", "a\nb", "x", "username"),
        ("ghcr.io", "a" * 256, "x", "username"),
        ("ghcr.io", "ada", "", "secret"),
        ("ghcr.io", "ada", "a\nb", "secret"),
        ("ghcr.io", "ada", "x" * 8193, "secret"),
    ],
)
async def test_what_cannot_be_kept(platform: Platform, registry: str, username: str, secret: str, field: str) -> None:
    ada = await platform.sign_in("ada")
    with pytest.raises(InvalidInput) as refused:
        await platform.parts.registries.enter(ada, registry, username, secret)
    assert refused.value.field == field
    assert refused.value.then
    assert not secret or secret not in str(refused.value) or len(secret) < 3


async def test_there_is_a_limit(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ACCOUNTS", 1)
    ada = await platform.sign_in("ada")
    await platform.parts.registries.enter(ada, "ghcr.io", "ada", WORD)
    with pytest.raises(QuotaExceeded):
        await platform.parts.registries.enter(ada, "quay.io", "ada", WORD)
    await platform.parts.registries.enter(ada, "ghcr.io", "ada", "changed")


async def test_the_platforms_account_is_used_where_it_fits_best_and_after_the_persons(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    assert ada.user_id is not None
    service = service_with(
        platform, PlatformAccount("ghcr.io", "all", "1"), PlatformAccount("ghcr.io/team/*", "team", "2")
    )
    for reference, username in (("ghcr.io/team/app", "team"), ("ghcr.io/other/app", "all"), ("quay.io/team/x", "")):
        found = await service.credentials_for(SYSTEM, ada.user_id, check_image(reference))
        assert (found.username if found else "") == username
    await service.enter(ada, "ghcr.io", "own", "3")
    found = await service.credentials_for(SYSTEM, ada.user_id, check_image("ghcr.io/team/app"))
    assert found is not None
    assert found.username == "own"


async def test_everything_is_sealed_anew(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    await platform.parts.registries.enter(ada, "ghcr.io", "ada", WORD)
    async with platform.parts.database.reading() as work:
        before = (await work.registry_accounts.every())[0].sealed
    assert await platform.parts.registries.seal_anew(SYSTEM) == 1
    async with platform.parts.database.reading() as work:
        assert (await work.registry_accounts.every())[0].sealed != before
    assert ada.user_id is not None
    found = await platform.parts.registries.credentials_for(SYSTEM, ada.user_id, check_image("ghcr.io/team/app"))
    assert found is not None
    assert found.secret == WORD


async def test_what_is_entered_meanwhile_is_not_sealed_away(tmp_path: Path, database_url: str) -> None:
    """Sealing anew what was read before would bring the old password back."""
    async with open_platform(tmp_path, image_registries=("ghcr.io",), database_url=database_url) as platform:
        ada = await platform.sign_in("ada")
        registries = platform.parts.registries
        await registries.enter(ada, "ghcr.io", "ada", WORD)
        async with platform.parts.database.transaction() as work:
            row = await work.registry_accounts.at(ada.person(), "ghcr.io")
            assert row is not None
            row.sealed = SEALER.seal("the-newer-one", f"registry account of {row.user_id} at {row.host}")
            await work.flush()
            sealing = asyncio.create_task(registries.seal_anew(SYSTEM))
            await asyncio.sleep(0.3)
        assert await sealing == 1
        found = await registries.credentials_for(SYSTEM, ada.person(), check_image("ghcr.io/team/app"))
        assert found is not None
        assert found.secret == "the-newer-one"
