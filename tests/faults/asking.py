"""People who ask the services for one environment each, and write down what they asked and what was answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import asyncpg

from cmbcluster.db.database import Database
from cmbcluster.domain.actors import Actor
from cmbcluster.errors import DependencyError, NotFound, UserError
from cmbcluster.runtime.kubernetes.names import ENVIRONMENT, GENERATION, labels_of
from cmbcluster.wiring import Parts
from tests.faults.controllers import Crew
from tests.faults.found import Watched, is_quiet, rows_of, watched, world
from tests.faults.ledger import NOT_FOUND, Act, Ledger, check, read
from tests.faults.replicas import APPLICATION, application, order, people
from tests.kubernetes.cluster import PYTHON, Admin, admin_of, until_true

# It ends, with nothing to complain of, when it is asked to.
PROGRAM = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/end": os._exit(0)
        self.send_response(200); self.end_headers(); self.wfile.write(b"here")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Answer).serve_forever()
"""
QUIET_SECONDS = 90.0
RIGHT_SECONDS = 20.0
PATIENCE_SECONDS = 15.0
# What people ask for after each act, the likely twice.
FOLLOWING: dict[Act, tuple[Act, ...]] = {
    "launch": ("stop", "stop", "stop", "remove", "keep"),
    "start": ("stop", "stop", "remove", "keep"),
    "stop": ("start", "start", "start", "remove", "keep"),
    "remove": ("launch",),
    "keep": ("launch",),
}
CONFLICT = 409


@dataclass
class Person:
    """One of them; the environment has a name that nobody else uses."""

    parts: Parts
    actor: Actor
    name: str
    ledger: Ledger
    id: UUID | None = None

    async def ask(self, act: Act) -> bool:
        """Ask for one thing; whether it was acknowledged."""
        call = self.ledger.invoke(str(self.actor.user_id), act, self.name)
        try:
            await self._ask(act)
        except DependencyError:
            self.ledger.end(call, "unknown")
            return False
        except UserError as refused:
            self.ledger.end(call, "fail", status=NOT_FOUND if isinstance(refused, NotFound) else CONFLICT)
            return False
        self.ledger.end(call, "ok")
        return True

    async def settled(self, chance: random.Random) -> None:
        """Wait until what was asked is so, as people mostly do, or for less."""
        until = time.monotonic() + chance.choice((0.0, 1.0, PATIENCE_SECONDS, PATIENCE_SECONDS))
        while self.id is not None and time.monotonic() < until:
            try:
                async with self.parts.database.reading() as work:
                    row = await work.environments.by_id(self.id)
            except DependencyError:
                row = None
            if row is not None and row.observed_generation == row.generation:
                return
            await asyncio.sleep(0.2)

    async def _ask(self, act: Act) -> None:
        services = self.parts.environments
        if act == "launch":
            self.id = (await services.launch(self.actor, order(self.name), key=self.name)).id
            return
        if self.id is None:
            self.id = await services.resolve(self.actor, self.name)
        if act == "start":
            await services.start(self.actor, self.id)
        elif act == "stop":
            await services.stop(self.actor, self.id)
        else:
            await services.delete(self.actor, self.id, typed_name=self.name, remove_workspace=act == "remove")


@dataclass
class Scene:
    """Everything that one test plays with."""

    crew: Crew
    admin: Admin
    url: str
    seen: Watched
    ledger: Ledger
    notes: Path

    async def row(self, name: str) -> asyncpg.Record:
        """The environment of that name."""
        (found,) = [row for row in await rows_of(self.url) if row["name"] == name]
        return found

    async def is_quiet(self) -> bool:
        """Whether everything is what was asked for."""
        return await is_quiet(self.url, self.admin)

    async def until_quiet(self, seconds: float = QUIET_SECONDS) -> None:
        """Wait for that."""
        await until_true(self.is_quiet, seconds)

    async def wrong(self, *except_for: str) -> list[str]:
        """All that is not as the ledger says, or was not at any time; without a look at some environments."""
        found = await world(self.url, self.admin, self.seen.removed_claims)
        lines = [line for line in read(self.notes) if line.name not in except_for]
        left_out = {row.id for row in found.rows if row.name in except_for}
        found.rows = [row for row in found.rows if row.id not in left_out]
        found.pods = [pod for pod in found.pods if pod.environment_id not in left_out]
        found.claims = [claim for claim in found.claims if claim.environment_id not in left_out]
        found.removed_claims = [claim for claim in found.removed_claims if claim.environment_id not in left_out]
        doubled = [f"{name}: two at once" for name in self.seen.doubled]
        return [*check(lines, found), *doubled, *await self._strays()]

    async def until_right(self, *except_for: str) -> None:
        """Wait until nothing is wrong: what came too late is found by the next look at everything."""
        until = time.monotonic() + RIGHT_SECONDS
        while wrong := await self.wrong(*except_for):
            assert time.monotonic() < until, wrong
            await asyncio.sleep(0.3)

    async def _strays(self) -> list[str]:
        """Secrets that no running environment reads, and config maps of nobody's packages."""
        running = {(str(row["id"]), str(row["run"])) for row in await rows_of(self.url) if row["phase"] == "running"}
        secrets, maps = [await self._ours(kind) for kind in ("secrets", "configmaps")]
        found = {(labels_of(each).get(ENVIRONMENT, ""), labels_of(each).get(GENERATION, "")) for each in secrets}
        strays = [f"a secret of {each}" for each in found - running]
        missing = [f"no secret of {each}" for each in running - found]
        return [*strays, *missing, *([f"{len(maps)} config maps for one lock"] if len(maps) > 1 else [])]

    async def _ours(self, kind: str) -> list[dict[str, object]]:
        found = await self.admin.cluster.get(f"{self.admin.base}/{kind}", labelSelector="cmbcluster.io/instance")
        assert found is not None
        return list(found["items"])

    async def sql(self, statement: str, *values: object) -> None:
        """Change what no service changes."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()


@asynccontextmanager
async def scene(crew: Crew) -> AsyncIterator[Scene]:
    """A namespace that is followed from outside, and a ledger; the controllers end with it."""
    notes = crew.folder / "ledger"
    ledger = Ledger(notes)
    try:
        async with admin_of(crew.namespace) as admin, watched(admin) as seen:
            yield Scene(crew, admin, crew.url, seen, ledger, notes)
    except BaseException:
        print(crew.told()[-20000:])
        raise
    finally:
        crew.end()
        ledger.close()


async def persons(parts: Parts, ledger: Ledger, *names: str) -> list[Person]:
    """Somebody for each of these environments, who may launch the program above."""
    await _put_application(parts.database)
    actors = await people(parts.database, len(names))
    return [Person(parts, actor, name, ledger) for actor, name in zip(actors, names, strict=True)]


async def days(person: Person, chance: random.Random, seconds: float) -> list[Person]:
    """Launch, stop, start and delete for a while, one environment after the other; all that there were."""
    made = [person]
    until = time.monotonic() + seconds
    acts: tuple[Act, ...] = ("launch",)
    while time.monotonic() < until:
        act, refused = chance.choice(acts), 0
        # Who does not know whether it was done asks again.
        while not await made[-1].ask(act):
            assert time.monotonic() < until + QUIET_SECONDS, f"{made[-1].name}: nobody can {act} it any more"
            refused += 1
            # A slow cluster lets one wait, and whoever asks sixty times in a minute is not listened to any more.
            await asyncio.sleep(chance.uniform(0.1, min(0.5 * refused, 3.0)))
        if act in ("remove", "keep"):
            made.append(replace(person, name=f"{person.name}-{len(made)}", id=None))
        acts = FOLLOWING[act]
        await made[-1].settled(chance)
    return made


async def _put_application(database: Database) -> None:
    async with database.transaction() as work:
        if await work.applications.by_id(APPLICATION) is None:
            made = application()
            made.source = {"requirements": [], "python": PYTHON}
            made.program = {**(made.program or {}), "command": ["python", "-c", PROGRAM, "{address}", "{port}"]}
            work.applications.add(made)
