"""People go on asking while the API server loses answers, refuses, cuts watches, tells of the past and is away (F4–F7).

Controllers are processes that reach it through a proxy of the test. At the end the ledger, the rows and the cluster
have to agree: no environment is lost or doubled, nothing is left that has no row, and no workspace went unasked.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.runtime import FakeRuntime
from tests.faults.asking import days, persons, scene
from tests.faults.controllers import Crew
from tests.faults.ledger import read
from tests.faults.lengths import lasting
from tests.faults.replicas import Shared
from tests.kubernetes.proxy import Faults, proxied

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
PEOPLE = 4
SECONDS = lasting(24, full=120)
TROUBLES = ("refused", "cut", "gone", "stalled", "stale", "refuses", "hangs")


def kubeconfig(file: Path, address: str) -> str:
    """A file that leads to an API server which asks for no name."""
    cluster = {"name": "test", "cluster": {"server": address}}
    context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
    told = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "contexts": [context],
        "users": [{"name": "test", "user": {}}],
        "current-context": "test",
    }
    file.write_text(json.dumps(told))
    return str(file)


async def trouble(faults: Faults, kind: str, chance: random.Random) -> None:
    """One kind of it for a while. Answers to writes are lost all the time."""
    faults.refuse = 0.3 if kind == "refused" else 0.0
    faults.watch_seconds = 0.5 if kind == "cut" else None
    faults.gone_by_status = faults.gone_in_stream = kind == "gone"
    faults.stall = kind == "stalled"
    faults.stale = kind == "stale"
    faults.away = kind if kind in ("refuses", "hangs") else ""  # type: ignore[assignment]
    await asyncio.sleep(chance.uniform(1.5, 3.5))


async def test_f4_to_f7_whatever_the_api_server_does_what_was_asked_is_there_once(
    tmp_path: Path, url: str, own_namespace: str, chance: random.Random
) -> None:
    faults = Faults(chance.randrange(2**32), lose_answers=0.25)
    async with proxied(faults) as address:
        crew = Crew(tmp_path, url, own_namespace, settings={"KUBECONFIG": kubeconfig(tmp_path / "kubeconfig", address)})
        async with (
            scene(crew) as played,
            Shared(url, tmp_path / "web", FakeRuntime()).replica() as parts,
            crew.manned(),
        ):
            everybody = await persons(parts, played.ledger, *(f"p{number}" for number in range(PEOPLE)))
            asking = asyncio.gather(
                *(days(each, random.Random(chance.random()), SECONDS) for each in everybody)  # noqa: S311
            )
            met = await _trouble(faults, chance)
            faults.lose_answers = 0.0
            await trouble(faults, "", chance)
            await asking
            await played.until_quiet()
            await played.until_right()
            ends = Counter(line.event for line in read(played.notes) if line.event != "invoke")
            print(f"{dict(met)}, {faults.lost} answers lost, {faults.refused} refused, {faults.told_old} old, {ends}")
            assert set(met) == set(TROUBLES)
            assert min(faults.lost, faults.refused, faults.told_old) > 0
            assert ends["ok"] >= 2 * PEOPLE
            assert crew.killed == 0


async def _trouble(faults: Faults, chance: random.Random) -> Counter[str]:
    """All kinds in an order of chance, again and again; how often each was met."""
    met: Counter[str] = Counter()
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for kind in chance.sample(TROUBLES, len(TROUBLES)):
            await trouble(faults, kind, chance)
            met[kind] += 1
    return met
