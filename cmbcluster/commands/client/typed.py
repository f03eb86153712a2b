"""The client's commands as they are typed. What does the work is imported when a command runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def _names(incomplete: str) -> list[str]:
    from cmbcluster.commands.client.acts import names

    return names(incomplete)


def _applications(incomplete: str) -> list[str]:
    from cmbcluster.commands.client.acts import application_ids

    return application_ids(incomplete)


Name = Annotated[str, typer.Argument(help="Name, id or slug of an environment.", autocompletion=_names)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]
_OWN = "Your own application"


def login(
    url: Annotated[str, typer.Option(help="Address of the platform. Asked for when left out.")] = "",
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read the token from standard input.")] = False,
) -> None:
    """Log in to a platform with a personal token."""
    from cmbcluster.commands.client import acts

    acts.login(url, token_stdin=token_stdin)


def logout() -> None:
    """Forget the token kept here."""
    from cmbcluster.commands.client import acts

    acts.logout()


def apps(as_json: AsJson = False) -> None:
    """List what can be launched."""
    from cmbcluster.commands.client import acts

    acts.apps(as_json=as_json)


def launch(
    application: Annotated[str, typer.Argument(metavar="APP", help="Id of it.", autocompletion=_applications)],
    name: Annotated[str, typer.Option(help="Name of the environment.")] = "",
    size: Annotated[str, typer.Option(help="small, medium, large or largest.")] = "",
    hours: Annotated[float | None, typer.Option(min=0.01, help="How long it runs.")] = None,
    requirements: Annotated[Path | None, typer.Option(help="File of packages.", rich_help_panel=_OWN)] = None,
    image: Annotated[str, typer.Option(help="Container image, in place of packages.", rich_help_panel=_OWN)] = "",
    command: Annotated[str, typer.Option(help="How it is started, with {port}.", rich_help_panel=_OWN)] = "",
    python: Annotated[str, typer.Option(help="Python version.", rich_help_panel=_OWN)] = "",
    port: Annotated[int, typer.Option(help="Port it listens on.", rich_help_panel=_OWN)] = 8501,
    as_of: Annotated[str, typer.Option(help="Date of the packages.", rich_help_panel=_OWN)] = "",
    health_path: Annotated[str, typer.Option(help="Path that answers when ready.", rich_help_panel=_OWN)] = "/",
    wait: Wait = True,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Launch an application and wait until it runs."""
    from cmbcluster.commands.client import acts

    custom = acts.custom_order(
        requirements, image=image, command=command, python=python, port=port, as_of=as_of, health_path=health_path
    )
    acts.launch(
        application, name=name, size=size, hours=hours, custom=custom, wait=wait, open_it=open_it, as_json=as_json
    )


def ls(as_json: AsJson = False) -> None:
    """List your environments."""
    from cmbcluster.commands.client import acts

    acts.list_environments(as_json=as_json)


def show(name: Name, as_json: AsJson = False) -> None:
    """Show one environment."""
    from cmbcluster.commands.client import acts

    acts.show_environment(name, as_json=as_json)


def logs(
    name: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    times: Annotated[bool, typer.Option("--times", help="Begin each line with its time.")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the run before the present one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the output of an environment."""
    from cmbcluster.commands.client import acts

    acts.logs(name, follow=follow and not previous, previous=previous, times=times, as_json=as_json)


def open_environment(
    name: Name, browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Show it too.")] = True
) -> None:
    """Print the address of an environment, and show it in a browser."""
    from cmbcluster.commands.client import acts

    acts.open_environment(name, browser=browser)


def stop(name: Name, wait: Wait = True, as_json: AsJson = False) -> None:
    """Stop an environment. Its workspace is kept."""
    from cmbcluster.commands.client import acts

    acts.stop(name, wait=wait, as_json=as_json)


def start(name: Name, wait: Wait = True, as_json: AsJson = False) -> None:
    """Start an environment again."""
    from cmbcluster.commands.client import acts

    acts.start(name, wait=wait, as_json=as_json)


def extend(name: Name, as_json: AsJson = False) -> None:
    """Give a running environment more time."""
    from cmbcluster.commands.client import acts

    acts.extend(name, as_json=as_json)


def rm(
    name: Name,
    workspace: Annotated[bool, typer.Option("--workspace", help="Remove its files too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete an environment."""
    from cmbcluster.commands.client import acts

    acts.remove(name, workspace=workspace, yes=yes)


def add_to(app: typer.Typer) -> None:
    """Make these commands of ``app``."""
    commands: tuple[Callable[..., None], ...] = (login, logout, apps, launch, ls, show, logs)
    for command in commands:
        app.command()(command)
    app.command("open")(open_environment)
    for command in (stop, start, extend, rm):
        app.command()(command)
