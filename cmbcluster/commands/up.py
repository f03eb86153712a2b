"""``cmbcluster up``: the whole platform in one terminal, until Ctrl-C.

The first signal ends it cleanly, environments included; the second ends it at once and
leaves environments running for the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cmbcluster import __version__, logs
from cmbcluster.commands.platform import Platform
from cmbcluster.commands.web_application import refuse_elsewhere
from cmbcluster.settings import Settings
from cmbcluster.wiring import parts

FORCED = 130
# Python looks for cycles after 700 new objects; that took a fifth of the processor's time of the API's lists
# (tests/bench/api.py).
COLLECT_AFTER_OBJECTS = 20_000
_LEVELS = {
    "own-network": "own network: they reach the internet and nothing on this machine",
    "sandbox": "sandbox: own files and processes, but this machine's loopback is shared",
    "none": "none: they can read what this account can read",
}


def run_up(settings: Settings) -> int:
    """Run until told to stop; the exit status."""
    logs.configure(settings)
    refuse_elsewhere(settings, "up")
    return asyncio.run(_up(settings, Console(highlight=False), time.monotonic()))


async def _up(settings: Settings, console: Console, since: float) -> int:
    def say(line: str) -> None:
        console.print(escape(line), style="dim" if line.startswith(" ") else None)

    platform = Platform(settings, say)
    told_to_stop = asyncio.Event()
    opening = asyncio.ensure_future(platform.open())
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if told_to_stop.is_set():
            force()
        told_to_stop.set()
        opening.cancel()

    def force() -> None:
        say("Ended at once. Environments go on; the next start finds them.")
        console.file.flush()
        os._exit(FORCED)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await opening
    except asyncio.CancelledError:
        if told_to_stop.is_set():
            say("Stopped before it was ready.")
            return FORCED
        raise
    _greet(settings, console, time.monotonic() - since)
    settle_memory()
    await told_to_stop.wait()
    console.print()
    say("Stopping. Ctrl-C again ends at once and leaves environments running.")
    await platform.close(stop_environments=True)
    say("Stopped. Nothing is running any more.")
    return 0


def settle_memory() -> None:
    """Give back what only the start needed: a platform that idles should be small, and one that works quick."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)


def _greet(settings: Settings, console: Console, seconds: float) -> None:
    """What a person needs to know now, and nothing else."""
    rows = [
        ("Open", f"[bold]{escape(settings.public_url)}[/bold]"),
        ("Sign in", escape(_way_in(settings))),
        ("Environments", _protection(settings)),
        ("Data", escape(str(settings.data_dir))),
        ("Stop", "Ctrl-C; environments are stopped too and their workspaces kept"),
    ]
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(f"[dim]{name}[/dim]", value)
    console.print()
    console.print(f"CMBCluster {__version__} is ready after {seconds:.1f} s")
    console.print()
    console.print(table)
    console.print()


def _way_in(settings: Settings) -> str:
    """How people sign in, and who can."""
    if people := ", ".join(person.name for person in parts().people):
        return f"choose one of the test people on the page: {people}"
    words = "with " + " or ".join(provider.name for provider in settings.providers)
    if everybody := [provider.name for provider in settings.providers if provider.allowed.everybody]:
        words += f"; everybody with an account at {' or '.join(everybody)} may enter"
    if not settings.admins:
        words += "\nTo make somebody an admin after their first sign-in: cmbcluster admin grant EMAIL"
    return words


def _protection(settings: Settings) -> str:
    """How environments are separated, and how to do better."""
    # The local runtime alone has levels; in a cluster each has a pod of its own.
    isolation = getattr(parts().runtime, "isolation", None)
    if isolation is None:
        where = f"pods in the cluster's namespace {settings.kubernetes_namespace}"
        return escape(f"{where}; its network rules say what they can reach")
    words = escape(_LEVELS.get(isolation.level, isolation.level))
    if isolation.missing:
        words += f"\n{escape(isolation.missing)}"
    if isolation.mend:
        words += f"\nTo mend it: [bold]{escape(isolation.mend)}[/bold]"
    return words
