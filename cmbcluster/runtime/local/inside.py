"""What an environment finds inside: its variables and the few files made for it.

The variables are built from nothing: ours, with their keys and passwords, are never passed
on. This module must never write into a workspace.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cmbcluster.domain.sources import Program
from cmbcluster.packages.own_network import resolver_text, routes_text
from cmbcluster.runtime.local.isolation import NONE, OWN_NETWORK, PERSON_ID, WORKSPACE

PERSON = "researcher"
CERTIFICATES = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
)  # fmt: skip
_PROXIES = (
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy",
)  # fmt: skip
# The C library obeys these even in the sandbox's own tools, which run before it is closed.
# (The list is the library's own of what it ignores in privileged programs.)
_OBEYED_OUTSIDE = frozenset(
    {
        "GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH", "MALLOC_TRACE",
        "NIS_PATH", "NLSPATH", "RESOLV_HOST_CONF", "RES_OPTIONS", "TMPDIR", "TZDIR",
    }
)  # fmt: skip


def fill(text: str, places: Mapping[str, str]) -> str:
    """``text`` with ``{port}``, ``{address}``, ``{bundled}``, ``{python}`` and ``{workspace}`` replaced."""
    for word, value in places.items():
        text = text.replace("{" + word + "}", value)
    return text


def places(level: str, build: Path, workspace: Path, port: int) -> dict[str, str]:
    """What the words in braces stand for."""
    return {
        "port": str(port),
        "address": "127.0.0.1",
        "bundled": str(build / "bundled"),
        "python": str(build / "bin" / "python"),
        "workspace": str(workspace if level == NONE else WORKSPACE),
    }


def takes_any_port(program: Program) -> bool:
    """Whether the program can be told where to listen."""
    return any("{port}" in text for text in (*program.command, *program.environment.values()))


def variables(
    level: str, build: Path, workspace: Path, program: Program, extra: Mapping[str, str], port: int
) -> dict[str, str]:
    """The whole environment of the program, at any level."""
    words = places(level, build, workspace, port)
    home = words["workspace"]
    made = {
        "PATH": f"{build / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "USER": PERSON,
        "LOGNAME": PERSON,
        "SHELL": "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "VIRTUAL_ENV": str(build),
        "PYTHONUNBUFFERED": "1",
        "XDG_CONFIG_HOME": f"{home}/.config",
        "XDG_CACHE_HOME": f"{home}/.cache",
        "XDG_DATA_HOME": f"{home}/.local/share",
        "XDG_STATE_HOME": f"{home}/.local/state",
    }
    for name in (*_PROXIES, *CERTIFICATES):
        if value := os.environ.get(name):
            made[name] = value
    made.update({name: fill(value, words) for name, value in program.environment.items()})
    made.update(extra)
    return {name: value for name, value in made.items() if name and "=" not in name and "\0" not in name + value}


def split_outspoken(level: str, made: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """(variables passed on in silence, variables only to be set inside the sandbox)."""
    if level == NONE:
        return dict(made), {}
    outspoken = {name: value for name, value in made.items() if name.startswith("LD_") or name in _OBEYED_OUTSIDE}
    return {name: value for name, value in made.items() if name not in outspoken}, outspoken


def certificates(made: Mapping[str, str]) -> tuple[Path, ...]:
    """Files and folders of certificates the variables point to, as far as they exist."""
    named = {Path(made[name]) for name in CERTIFICATES if made.get(name, "").startswith("/")}
    return tuple(sorted(path for path in named if path.exists()))


def write_files(folder: Path, slug: str, level: str) -> None:
    """Make the files that replace parts of ``/etc`` inside; readable by all, secret to nobody."""
    folder.mkdir(mode=0o755, exist_ok=True)
    texts = {
        "hosts": f"127.0.0.1 localhost {slug}\n::1 localhost\n",
        "passwd": f"root:x:0:0::/:/usr/sbin/nologin\n{PERSON}:x:{PERSON_ID}:{PERSON_ID}::{WORKSPACE}:/bin/bash\n",
        "group": f"root:x:0:\n{PERSON}:x:{PERSON_ID}:\n",
        "resolv.conf": resolver_text(own_network=level == OWN_NETWORK),
        "routes": routes_text(),
    }
    for name, text in texts.items():
        file = folder / name
        file.write_text(text, encoding="utf-8")
        file.chmod(0o644)
