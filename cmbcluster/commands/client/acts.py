"""What each client command does. It asks the API and prints; it decides nothing."""

from __future__ import annotations

import json
import secrets
import sys
import uuid
import webbrowser
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from cmbcluster.commands.client import show
from cmbcluster.commands.client.account import (
    USUAL_URL,
    Account,
    clean_url,
    forget_account,
    is_in_the_clear,
    keep_account,
    kept_account,
    present_account,
)
from cmbcluster.commands.client.connection import TRIES, Connection, environment_path
from cmbcluster.commands.client.exits import ClientRefused, Exit

SUFFIX_LETTERS = "abcdefghjkmnpqrstuvwxyz"


def login(url: str, *, token_stdin: bool) -> None:
    """Keep an address and a token, after the platform said whose it is."""
    kept = kept_account()
    asked = url or typer.prompt("Address of CMBCluster", default=kept.url if kept else USUAL_URL)
    where = clean_url(asked)
    if is_in_the_clear(where):
        show.console(errors=True).print(f"{escape(where)} is not encrypted: others could read the token on the way.")
    if token_stdin:
        token = sys.stdin.readline().strip()
    else:
        show.console(errors=True).print(f"Make a token at {escape(where)}/settings?tab=tokens")
        token = typer.prompt("Token", hide_input=True).strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ClientRefused(Exit.USAGE, "That is no token.", "Copy it whole; it begins with cmb_.")
    account = Account(where, token)
    with Connection(account) as platform:
        me = platform.ask("GET", "/me")
    keep_account(account)
    show.console().print(escape(f"Logged in to {where} as {show.plain(me['name'])}."))


def logout() -> None:
    """Forget the token here."""
    if forget_account():
        show.console().print("Logged out. The token still works elsewhere; revoke it in Settings, under Tokens.")
    else:
        show.console().print("You were not logged in.")


def apps(*, as_json: bool) -> None:
    """List the catalogue."""
    with Connection(present_account()) as platform:
        found = platform.ask("GET", "/applications", tries=TRIES)["items"]
    show.as_json(found) if as_json else show.applications(found)


def list_environments(*, as_json: bool) -> None:
    """List the person's environments."""
    with Connection(present_account()) as platform:
        found = platform.rows("/environments")
    if as_json:
        show.as_json(found)
    elif found:
        show.environments(found)
    else:
        show.console().print("You have no environments. Launch one with: cmbcluster launch APP")


def show_environment(name: str, *, as_json: bool) -> None:
    """Everything about one."""
    with Connection(present_account()) as platform:
        found = platform.ask("GET", environment_path(name), tries=TRIES)
    show.as_json(found) if as_json else show.environment(found)


def launch(
    application: str,
    *,
    name: str,
    size: str,
    hours: float | None,
    custom: dict[str, Any] | None,
    wait: bool,
    open_it: bool,
    as_json: bool,
) -> None:
    """Launch an application, and wait until it runs."""
    name = name or f"{application[:30]}-{''.join(secrets.choice(SUFFIX_LETTERS) for _ in range(4))}"
    body: dict[str, Any] = {"application": application, "name": name}
    if size:
        body["size"] = size
    if hours is not None:
        body["uptime_seconds"] = round(hours * 3600)
    if custom is not None:
        body["custom"] = custom
    with Connection(present_account()) as platform:
        # With a key of its own it can be asked for again when the answer was lost.
        key = {"Idempotency-Key": str(uuid.uuid4())}
        made = platform.ask("POST", "/environments", json=body, headers=key, tries=TRIES)
        _until_running(platform, made, wait=wait, as_json=as_json, open_it=open_it)


def start(name: str, *, wait: bool, as_json: bool) -> None:
    """Start what is at rest, and wait until it runs."""
    with Connection(present_account()) as platform:
        asked = platform.ask("POST", f"{environment_path(name)}/start")
        _until_running(platform, asked, wait=wait, as_json=as_json, open_it=False)


def _until_running(platform: Connection, asked: dict[str, Any], *, wait: bool, as_json: bool, open_it: bool) -> None:
    found = asked
    if wait:
        with show.console(errors=True).status(f"{escape(asked['name'])} is on its way…"):
            found = platform.wait(asked["id"], "running")
    if as_json:
        show.as_json(found)
    if found["phase"] in ("stopped", "failed"):
        reason = found["reason"] or {"what": f"{found['name']} is {found['phase']}.", "then": ""}
        raise ClientRefused(Exit.ERROR, show.plain(reason["what"]), show.plain(reason["then"]))
    if not as_json:
        says = "is running" if wait else "is on its way"
        show.console().print(escape(f"{found['name']} {says}: {found['address']}"))
    if open_it:
        webbrowser.open(found["address"])


def stop(name: str, *, wait: bool, as_json: bool) -> None:
    """Stop one, or cancel its launch."""
    with Connection(present_account()) as platform:
        found = platform.ask("POST", f"{environment_path(name)}/stop", tries=TRIES)
        if wait:
            found = platform.wait(found["id"], "rest")
    if as_json:
        show.as_json(found)
    else:
        says = "is stopped" if wait else "is stopping"
        show.console().print(escape(f"{found['name']} {says}. Its workspace is kept."))


def extend(name: str, *, as_json: bool) -> None:
    """Give one more time."""
    with Connection(present_account()) as platform:
        found = platform.ask("POST", f"{environment_path(name)}/extend")
    if as_json:
        show.as_json(found)
    else:
        show.console().print(escape(f"{found['name']} runs until {show.moment(found['deadline_at'])}."))


def remove(name: str, *, workspace: bool, yes: bool) -> None:
    """Delete one, with or without its workspace."""
    with Connection(present_account()) as platform:
        found = platform.ask("GET", environment_path(name), tries=TRIES)
        what = "and its workspace with all files in it" if workspace else "and keep its workspace"
        if not yes and not typer.confirm(f"Delete {found['name']} {what}?"):
            raise ClientRefused(Exit.ERROR, "Nothing was deleted.")
        parameters = {"workspace": "remove", "confirm": found["name"]} if workspace else {}
        platform.ask("DELETE", environment_path(found["id"]), params=parameters, tries=TRIES)
    show.console().print(escape(f"{found['name']} is being deleted."))


def logs(name: str, *, follow: bool, previous: bool, times: bool, as_json: bool) -> None:
    """Print the output of the present run, or of the one before."""
    out = sys.stdout
    with Connection(present_account()) as platform:
        for line in platform.lines(name, follow=follow, offset=0, previous=previous):
            if as_json:
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
            else:
                text = show.plain(line["text"]) if out.isatty() else line["text"]
                out.write(f"{line['at']} {text}\n" if times else f"{text}\n")
            out.flush()


def open_environment(name: str, *, browser: bool) -> None:
    """Print the address of one, and show it in a browser."""
    with Connection(present_account()) as platform:
        found = platform.ask("GET", environment_path(name), tries=TRIES)
    sys.stdout.write(f"{found['address']}\n")
    if browser and sys.stdout.isatty():
        webbrowser.open(found["address"])


def names(beginning: str) -> list[str]:
    """Names of environments for the shell's completion; none when the platform does not answer soon."""
    try:
        with Connection(present_account(), answer_seconds=2) as platform:
            rows = platform.ask("GET", "/environments", params={"limit": 100})["items"]
    except ClientRefused:
        return []
    return [row["name"] for row in rows if row["name"].startswith(beginning)]


def application_ids(beginning: str) -> list[str]:
    """Ids of applications for the shell's completion."""
    try:
        with Connection(present_account(), answer_seconds=2) as platform:
            rows = platform.ask("GET", "/applications")["items"]
    except ClientRefused:
        return []
    return [row["id"] for row in rows if row["id"].startswith(beginning)]


def custom_order(
    requirements: Path | None, *, image: str, command: str, python: str, port: int, as_of: str, health_path: str
) -> dict[str, Any] | None:
    """What to run, for one's own application; None when nothing of it was given."""
    if requirements is not None and image:
        raise ClientRefused(Exit.USAGE, "An image has its packages in it.", "Give --image or --requirements.")
    if image:
        return {"image": image, "command": command, "port": port, "health_path": health_path}
    if requirements is None and not command:
        return None
    text = ""
    if requirements is not None:
        try:
            text = requirements.read_text(encoding="utf-8")
        except (OSError, ValueError) as wrong:
            raise ClientRefused(Exit.USAGE, f"{requirements} cannot be read.", "Give a text file.") from wrong
    return {
        "requirements": text,
        "command": command,
        **({"python": python} if python else {}),
        "port": port,
        "as_of": as_of,
        "health_path": health_path,
    }
