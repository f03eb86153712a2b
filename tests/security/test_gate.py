"""The gate asked as every actor: the two functions of the matrix that know no actor but a cookie or a code."""

from __future__ import annotations

import pytest

from cmbcluster.domain.actors import Scope
from cmbcluster.domain.gate import ENVIRONMENT_COOKIE, Verdict
from cmbcluster.errors import Forbidden
from tests.security.actors import TOKENS, World
from tests.security.conftest import database_file
from tests.security.digests import changes, content_of

pytestmark = pytest.mark.asyncio(loop_scope="package")
MISSING_HOST = "never-was-abc123.localhost"


def host_of(world: World, who: str) -> str:
    return f"{world.things[who].slug}.localhost"


async def test_every_actors_cookie_at_every_host(world: World) -> None:
    access = world.platform.parts.access
    for who in world.gate_cookies:
        cookie = f"{ENVIRONMENT_COOKIE}={world.gate_cookies[who]}"
        before = content_of(database_file(world))
        answers = {
            whose: await access.authorize(host_of(world, whose), cookie, touch=False) for whose in world.gate_cookies
        }
        missing = await access.authorize(MISSING_HOST, cookie, touch=False)
        for whose, answer in answers.items():
            if whose == who and who not in ("disabled", "ended"):
                assert answer.verdict is Verdict.PASS, who
                continue
            assert answer.verdict is missing.verdict is Verdict.SIGN_IN, f"{who} at the host of {whose}"
            assert not answer.host
            assert not answer.port
            assert answer.environment is None
            # The address is the one that was asked for, and tells nothing of what is there.
            assert answer.open_url.rpartition("/")[0] == missing.open_url.rpartition("/")[0]
        assert changes(before, content_of(database_file(world))) == []


async def test_every_actors_code_at_every_host(world: World) -> None:
    access = world.platform.parts.access
    refused = []
    for who, code in world.codes.items():
        whose = "stranger" if who == "owner" else "owner"
        for host in (host_of(world, whose), MISSING_HOST):
            with pytest.raises(Forbidden) as told:
                await access.redeem(host, code)
            refused.append(str(told.value))
        # A code that came to a wrong host is spent: whoever brought it there had no right to it.
        with pytest.raises(Forbidden) as told:
            await access.redeem(host_of(world, who), code)
        refused.append(str(told.value))
    assert len(set(refused)) == 1


@pytest.mark.parametrize("who", ["disabled", "ended"])
async def test_a_code_dies_with_the_session_that_made_it(world: World, who: str) -> None:
    with pytest.raises(Forbidden):
        await world.platform.parts.access.redeem(host_of(world, who), world.codes[who])


async def test_a_code_works_for_whom_it_was_made(world: World) -> None:
    assert await world.platform.parts.access.redeem(host_of(world, "owner"), world.codes["owner"])


async def test_every_actors_token_at_every_host(world: World) -> None:
    access = world.platform.parts.access
    scopes = {**dict.fromkeys(world.secrets, frozenset({Scope.LAUNCH})), **TOKENS}
    for who, secret in world.secrets.items():
        missing = await access.authorize(MISSING_HOST, "", token=secret, touch=False)
        assert missing.verdict is not Verdict.PASS
        for whose in world.secrets:
            answer = await access.authorize(host_of(world, whose), "", token=secret, touch=False)
            lives = who not in ("disabled", "revoked token")
            if whose == who and lives and Scope.LAUNCH in scopes[who]:
                assert answer.verdict is Verdict.PASS, who
                continue
            assert answer.verdict is missing.verdict, f"{who} at the host of {whose}"
            assert not answer.host
            assert answer.environment is None
