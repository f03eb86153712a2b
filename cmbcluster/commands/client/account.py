"""Whom the client acts for: an address and a token, from the environment or from a private file.

``CMB_URL`` and ``CMB_TOKEN`` go before the file; they are the client's own and no settings of the
platform. A token is never sent to another address than the one it was given for.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from cmbcluster.commands.client.exits import ClientRefused, Exit

USUAL_URL = "http://localhost:8200"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Account:
    """An address and the token for it."""

    url: str
    token: str = field(repr=False)


def account_file() -> Path:
    """Where the account is kept."""
    return Path(platformdirs.user_config_dir("cmbcluster", appauthor=False)) / "client.json"


def clean_url(text: str) -> str:
    """The address without what follows its host; raises ClientRefused for what is none."""
    try:
        parts = urlsplit(text.strip() if "://" in text else f"https://{text.strip()}")
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        good = False
    if not good:
        raise ClientRefused(Exit.USAGE, f"{text} is no address.", f"Give one like {USUAL_URL}.")
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def is_in_the_clear(url: str) -> bool:
    """Whether a token sent there could be read on the way."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "http" and host not in _LOOPBACK and not host.endswith(".localhost")


def kept_account() -> Account | None:
    """The account of the last login, or None."""
    try:
        kept = json.loads(account_file().read_text(encoding="utf-8"))
        return Account(str(kept["url"]), str(kept["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def present_account() -> Account:
    """The account to act for; raises ClientRefused when there is none."""
    kept = kept_account()
    url = clean_url(os.environ["CMB_URL"]) if os.environ.get("CMB_URL") else ""
    if token := os.environ.get("CMB_TOKEN", "").strip():
        return Account(url or (kept.url if kept else USUAL_URL), token)
    if kept is None or (url and url != kept.url):
        where = f" to {url}" if url else ""
        raise ClientRefused(Exit.NOT_SIGNED_IN, f"You are not logged in{where}.", "Run cmbcluster login.")
    return kept


def keep_account(account: Account) -> Path:
    """Keep it where only this user can read it."""
    path = account_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"url": account.url, "token": account.token}, file)
    new.replace(path)
    return path


def forget_account() -> bool:
    """Remove it; says whether there was one."""
    try:
        account_file().unlink()
    except FileNotFoundError:
        return False
    return True
