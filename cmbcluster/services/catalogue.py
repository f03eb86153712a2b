"""What can be launched, and how the packaged seed reaches the database."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cmbcluster.catalogue.schema import SeedApplication
from cmbcluster.db.database import Database, Work
from cmbcluster.db.models import Application
from cmbcluster.domain.actors import Actor, Scope
from cmbcluster.domain.images import ImageSource
from cmbcluster.domain.naming import clean_search
from cmbcluster.domain.sources import Program, PythonSource
from cmbcluster.domain.views import ApplicationView
from cmbcluster.errors import NotFound
from cmbcluster.services.contents import ImageRules, why_unavailable
from cmbcluster.services.denials import records_denials
from cmbcluster.services.portraits import usual_of

SEARCH_LIMIT = 100


@records_denials
class CatalogueService:
    """Reading the catalogue, and seeding it."""

    def __init__(self, database: Database, images: ImageRules) -> None:
        self._database = database
        self._images = images

    async def applications(self, actor: Actor, *, search: str = "", category: str = "") -> tuple[ApplicationView, ...]:
        """What the person may launch, in the catalogue's order."""
        actor.require(Scope.READ)
        async with self._database.reading() as work:
            rows = await work.applications.enabled(clean_search(search, SEARCH_LIMIT), category)
            return tuple([await self._view(work, row) for row in rows])

    async def categories(self, actor: Actor) -> tuple[str, ...]:
        """The categories that have something in them, in the catalogue's order."""
        return tuple(dict.fromkeys(view.category for view in await self.applications(actor)))

    async def application(self, actor: Actor, application_id: str) -> ApplicationView:
        """One application; raises NotFound for an unknown or disabled one."""
        actor.require(Scope.READ)
        async with self._database.reading() as work:
            return await self._view(work, await enabled_application(work, application_id))

    async def seed(self, actor: Actor, applications: tuple[SeedApplication, ...]) -> int:
        """Bring the packaged applications into the catalogue; returns how many changed.

        An application that an admin has edited is left alone, however old its seed is.
        """
        actor.require_system()
        changed = 0
        async with self._database.transaction() as work:
            # Replicas that start together bring the same rows.
            await work.take_turn("seed")
            for seed in applications:
                row = await work.applications.by_id(seed.id)
                if row is not None and (row.edited_at is not None or row.seed_digest == seed.digest()):
                    continue
                values = _values(seed)
                if row is None:
                    work.applications.add(Application(id=seed.id, **values))
                else:
                    for name, value in values.items():
                        setattr(row, name, value)
                changed += 1
        return changed

    async def _view(self, work: Work, row: Application) -> ApplicationView:
        times = await usual_of(work, row.id)
        return ApplicationView(
            id=row.id,
            name=row.name,
            category=row.category,
            summary=row.summary,
            icon=row.icon,
            source=PythonSource.from_dict(row.source) if row.source else None,
            image=ImageSource(row.image) if row.image else None,
            program=Program.from_dict(row.program) if row.program else None,
            size=row.size,
            needs_keys=tuple(row.needs_keys),
            usual_start_seconds=times.start_seconds,
            takes_image=row.program is None and self._images.runs_images,
            unavailable=why_unavailable(row, self._images),
        )


async def enabled_application(work: Work, application_id: str) -> Application:
    """The row of an application that may be launched; raises NotFound otherwise."""
    # No id has such characters, and PostgreSQL refuses to look for some of them.
    row = await work.applications.by_id(application_id) if application_id.isprintable() else None
    if row is None or not row.enabled:
        raise NotFound("There is no such application.", "Choose one from the catalogue.")
    return row


def _values(seed: SeedApplication) -> dict[str, Any]:
    source = seed.python_source()
    program = seed.as_program()
    return {
        "name": seed.name,
        "category": seed.category,
        "summary": seed.summary,
        "icon": seed.icon,
        "position": seed.position,
        "size": seed.size,
        "needs_keys": list(seed.needs_keys),
        "source": asdict(source) if source else None,
        "image": seed.image,
        "program": asdict(program) if program else None,
        "seed_digest": seed.digest(),
    }
