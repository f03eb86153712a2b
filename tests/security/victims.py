"""What the people of a running platform have, read from its database as an outsider of the process."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx

from cmbcluster.domain.gate import SESSION_COOKIE
from tests.e2e.conftest import Started
from tests.security.handlers import Named
from tests.security.hostile import HYDRATE, cookie_of, hostile

LAUNCH = "reflex___state____state.cmbcluster___web___launch____launch"
ACTS = "reflex___state____state.cmbcluster___web___acts____acts"
REST_SECONDS = 30.0
# What a person has is in these, by the column that says whose it is.
THEIRS = {"users": "id", "environments": "owner_id", "sessions": "user_id", "activity": "owner_id",
          "notices": "user_id", "registry_accounts": "user_id",
          "api_tokens": "user_id", "identities": "user_id"}  # fmt: skip
ARRIVING = ("last_seen_at", "serial", "serial_seen", "serial_made_at", "last_used_at")


@dataclass(frozen=True)
class Victim:
    """A person with one environment at rest. ``marks``: texts that nobody else may be shown."""

    person: str
    cookie: str
    user_id: str
    session_id: str
    environment_id: str
    token_id: str
    secret: str
    marks: tuple[str, ...]

    @property
    def named(self) -> Named:
        """What a stranger who learned the ids would name."""
        return Named(self.environment_id, self.session_id, self.token_id)


def ask(data: Path, question: str, *values: object) -> list[tuple[object, ...]]:
    """Rows of a running platform's database."""
    with closing(sqlite3.connect(f"file:{data / 'cmbcluster.db'}?mode=ro", uri=True)) as reader:
        return reader.execute(question, values).fetchall()


def text_id(blob: object) -> str:
    """An id as it is written in addresses."""
    plain = str(blob).replace("-", "")
    return "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))


def settle_in(up: Started, person: str) -> Victim:
    """Sign a person in and give them an environment that is at rest, so that nothing changes by itself."""
    cookie, name = cookie_of(up.url, person), f"canary-{person}-only"
    with hostile(up.url, cookie) as tab:
        tab.send(HYDRATE)
        tab.until('"who_rx_state_": "in"')
        tab.send(f"{LAUNCH}.begin", {"application_id": "custom"})
        tab.until('"offer_rx_state_"')
        form = {"name": name, "size": "small", "uptime": "3600", "requirements": "numpy", "python": "3.11",
                "command": "python -m http.server {port}", "port": "8000", "health_path": "/"}  # fmt: skip
        tab.send(f"{LAUNCH}.order", {"form": form})
        tab.until(f"{name} is on its way")
        found = ask(up.data, "select id, slug, owner_id from environments where name = ?", name)[0]
        tab.send(f"{ACTS}.stop", {"raw_id": text_id(found[0])})
        until = time.monotonic() + REST_SECONDS
        while ask(up.data, "select phase from environments where id = ?", found[0]) != [("stopped",)]:
            assert time.monotonic() < until, "the launch was not cancelled"
            time.sleep(0.05)
    made = httpx.post(
        f"{up.url}/api/tokens",
        json={"name": f"script-of-{person}", "scopes": ["read", "launch"], "days": 7},
        headers={"Origin": up.url, "Cookie": f"{SESSION_COOKIE}={cookie}"},
    )
    assert made.status_code == 201, made.text
    token = ask(up.data, "select id from api_tokens where user_id = ?", found[2])[0][0]
    session = ask(up.data, "select id from sessions where user_id = ? order by created_at desc", found[2])[0][0]
    email = f"{person}@example.org"
    marks = (name, str(found[1]), email, text_id(found[2]), text_id(session), f"script-of-{person}")
    ids = (text_id(found[2]), text_id(session), text_id(found[0]), text_id(token))
    return Victim(person, cookie, *ids, made.json()["token"], marks)


def theirs(data: Path, victim: Victim) -> dict[str, list[tuple[object, ...]]]:
    """Everything that is kept of a person, without the traces of arriving."""
    kept = {}
    for table, column in THEIRS.items():
        names = [str(row[1]) for row in ask(data, f"pragma table_info({table})")]
        wanted = ", ".join(f'"{name}"' for name in names if name not in ARRIVING)
        plain = victim.user_id.replace("-", "")
        question = f"select {wanted} from {table} where {column} in (?, ?)"  # noqa: S608 - names of our own
        kept[table] = sorted(ask(data, question, plain, victim.user_id), key=repr)
    return kept
