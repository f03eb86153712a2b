"""``cmbcluster settings``: what is in force and where it comes from."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cmbcluster.setting_lines import example_file, setting_lines
from cmbcluster.settings import ENV_FILE, load_settings

_SOURCES = {
    "default": "default",
    "file": f"{ENV_FILE} file",
    "derived": "follows from another",
    "environment": "environment",
}
# Without a terminal there is no width to keep to, and a cut value would be a wrong one.
_WIDE = 240


def print_settings() -> None:
    """A table of every setting; secrets are masked."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDE)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for head in ("Setting", "Value", "Source", "Description"):
        table.add_column(head, overflow="fold")
    for line in setting_lines(load_settings()):
        style = None if line.source == "default" else "bold"
        table.add_row(
            line.name, escape(line.value) or "[dim]empty[/dim]", _SOURCES[line.source], line.description, style=style
        )
    console.print(table)


def print_example() -> None:
    """The text of ``.env.example``."""
    typer.echo(example_file(), nl=False)
