"""The command line. It reads what was typed and calls what does the work; it decides nothing.

Commands import what they need when they run, so that ``--help`` and ``settings`` are quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from cmbcluster import __version__
from cmbcluster.commands.client import typed
from cmbcluster.domain.actors import Tier
from cmbcluster.errors import CMBClusterError, StartRefused, UserError

if TYPE_CHECKING:
    from cmbcluster.commands.roles.process import Role
    from cmbcluster.settings import Settings

app = typer.Typer(
    name="cmbcluster",
    help="Private, time-limited research environments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
admin = typer.Typer(
    name="admin", help="What the person who runs the platform needs now and then.", no_args_is_help=True
)
app.add_typer(admin)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cmbcluster {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Private, time-limited research environments."""


@app.command()
def up() -> None:
    """Run the whole platform in this terminal until Ctrl-C."""
    from cmbcluster.commands.optional_imports import load_without_optional_parts

    load_without_optional_parts()
    from cmbcluster.commands.up import run_up
    from cmbcluster.settings import load_settings

    raise typer.Exit(run_up(load_settings()))


@app.command()
def web() -> None:
    """Run the pages and the HTTP API alone, as one of several processes."""
    from cmbcluster.commands.optional_imports import load_without_optional_parts

    load_without_optional_parts()
    from cmbcluster.commands.roles.web import Web

    _run_role(Web)


@app.command()
def gate() -> None:
    """Run the gate alone: it tells the edge who may reach an environment."""
    from cmbcluster.commands.roles.gate import Gate

    _run_role(Gate)


@app.command()
def controller() -> None:
    """Run the controller alone: it starts and stops environments."""
    from cmbcluster.commands.roles.controller import Controller

    _run_role(Controller)


@app.command()
def edge() -> None:
    """Run the edge alone: it listens for browsers."""
    from cmbcluster.commands.roles.edge import Edge

    _run_role(Edge)


@app.command()
def migrate() -> None:
    """Bring the database's schema and the catalogue up to date, and leave."""
    from cmbcluster.commands.migrate import run_migrate
    from cmbcluster.settings import load_settings

    raise typer.Exit(run_migrate(load_settings()))


@app.command(name="build-pages", hidden=True)
def build_pages() -> None:
    """Build the pages that separate roles serve, as the container image does."""
    from cmbcluster.commands.pages import run_build_pages

    run_build_pages()


@app.command()
def settings(
    example: Annotated[bool, typer.Option("--example", help="Print the text of .env.example instead.")] = False,
) -> None:
    """Show every setting, its value and where the value comes from."""
    from cmbcluster.commands.settings import print_example, print_settings

    if example:
        print_example()
    else:
        print_settings()


@admin.command()
def builds(
    prune: Annotated[bool, typer.Option("--prune", help="Remove the builds that no environment needs.")] = False,
) -> None:
    """List the built package environments, or remove those that nothing uses."""
    from cmbcluster.commands.admin import show_builds

    show_builds(prune=prune)


@admin.command()
def grant(email: Annotated[str, typer.Argument(help="E-mail address of somebody who has signed in before.")]) -> None:
    """Make somebody an admin."""
    from cmbcluster.commands.admin import grant_admin

    grant_admin(email)


@admin.command()
def revoke(email: Annotated[str, typer.Argument(help="E-mail address of an admin.")]) -> None:
    """Take an admin's role away; they are signed out."""
    from cmbcluster.commands.admin import revoke_admin

    revoke_admin(email)


@admin.command()
def tier(
    email: Annotated[str, typer.Argument(help="E-mail address of somebody who has signed in before.")],
    name: Annotated[Tier, typer.Argument(help="Which limits apply.")],
) -> None:
    """Give somebody a tier."""
    from cmbcluster.commands.admin import set_tier

    set_tier(email, name)


@admin.command()
def disable(email: Annotated[str, typer.Argument(help="E-mail address of somebody who has signed in before.")]) -> None:
    """Sign somebody out everywhere, and let them in no more. What they run goes on to its deadline."""
    from cmbcluster.commands.admin import disable as shut_out

    shut_out(email)


@admin.command(name="sign-out")
def sign_out(
    email: Annotated[str, typer.Argument(help="E-mail address of somebody who has signed in before.")],
) -> None:
    """End every session of somebody, who may sign in again."""
    from cmbcluster.commands.admin import sign_out as end_sessions

    end_sessions(email)


@admin.command()
def enable(email: Annotated[str, typer.Argument(help="E-mail address of somebody who was disabled.")]) -> None:
    """Let somebody in again."""
    from cmbcluster.commands.admin import enable as let_in

    let_in(email)


@admin.command(name="rotate-keys")
def rotate_keys(
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the file with a new key, for a Secret, and write nothing.")
    ] = False,
) -> None:
    """Sign sessions with a new key; nobody is signed out."""
    from cmbcluster.commands.admin import rotate_keys as renew

    renew(only_print=only_print)


@admin.command(name="make-keys")
def make_keys() -> None:
    """Print a new file of keys that sign sessions, for a Secret that all replicas mount."""
    from cmbcluster.commands.admin import make_keys as make

    make()


@admin.command(name="rotate-secrets")
def rotate_secrets() -> None:
    """Encrypt people's accounts at registries with a new key; the older keys still open theirs."""
    from cmbcluster.commands.admin import rotate_secrets as renew

    renew()


typed.add_to(app)


def _run_role(role: Callable[[Settings], Role]) -> None:
    from cmbcluster.commands.roles.process import run_role
    from cmbcluster.settings import load_settings

    chosen = load_settings()
    raise typer.Exit(run_role(chosen, role(chosen)))


def main() -> None:
    """Run a command; what it refuses is printed as sentences, without a traceback."""
    try:
        app()
    except (StartRefused, UserError, CMBClusterError) as refused:
        typer.secho(str(refused), err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
        # Client commands tell scripts more than that they failed; see docs/api.md.
        sys.exit(getattr(refused, "exit_code", 1))


if __name__ == "__main__":
    main()
