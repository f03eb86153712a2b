"""``cmbcluster build-pages``: the pages built where separate roles look for them."""

from __future__ import annotations

import asyncio

import typer

from cmbcluster.edge.frontend import build_frontend


def run_build_pages() -> None:
    """Build, saying how far it is; raises StartRefused when it fails."""
    asyncio.run(build_frontend(typer.echo))
