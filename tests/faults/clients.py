"""Scripts that ask the HTTP API of replicas that are killed, and write down what they asked and what was answered."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

import httpx

from tests.faults.ledger import LIST, Ledger
from tests.kubernetes.cluster import PYTHON

KEPT_AT_ONCE = 3
PAUSE_SECONDS = (0.3, 1.5)
REQUEST_SECONDS = 20.0
# Some do not wait for their answer, so that also without a kill there are calls of which nobody knows.
IMPATIENT, IMPATIENT_SECONDS = 0.15, (0.005, 0.05)
# Somebody who knows nothing asks again, mostly.
ASKS_AGAIN = 0.7
OVER = ("stopped", "failed")
PROGRAM = {
    "requirements": "idna",
    "python": PYTHON,
    "command": "python -u -m http.server {port} --bind {address}",
    "port": 8501,
}


@dataclass
class Client:
    """One thread. It relies on what is listed alone, as a script that was started anew would.

    A request that was surely not sent, or that the platform understood and refused, has failed; of one whose
    answer was lost, or is an error of the platform's own, nobody knows.
    """

    name: str
    token: str
    webs: list[str]
    host: str
    chance: random.Random
    ledger: Ledger
    launched: int = 0
    asked: int = 0
    unsent: int = 0
    left: int = 0
    broken: int = 0
    errors: int = 0

    def run(self, seconds: float) -> None:
        """Ask for one thing after the other."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            listed = self._list()
            if listed is not None:
                self._change(listed)
            time.sleep(self.chance.uniform(*PAUSE_SECONDS))

    def _list(self) -> dict[str, str] | None:
        call = self.ledger.invoke(self.name, LIST)
        answer = self._ask("GET", "/environments", params={"limit": 100})
        if answer is None or answer.status_code != 200:
            self.ledger.end(call, "unknown")
            return None
        mine = [each for each in answer.json()["items"] if each["name"].startswith(f"{self.name}-")]
        names = [each["name"] for each in mine]
        assert len(names) == len(set(names)), f"something was doubled: {names}"
        self.ledger.end(call, "ok", names=names)
        return {each["name"]: each["phase"] for each in mine}

    def _change(self, listed: dict[str, str]) -> None:
        active = [name for name, phase in listed.items() if phase not in (*OVER, "deleting")]
        over = [name for name, phase in listed.items() if phase in OVER]
        if not active and over and self.chance.random() < 0.4:
            self._call("start", self.chance.choice(over))
        elif not active and len(listed) < KEPT_AT_ONCE:
            self.launched += 1
            self._call("launch", f"{self.name}-{self.launched}")
        elif listed:
            # What was stopped before may be asked to stop once more.
            act = self.chance.choice(("stop", "stop", "remove", "keep"))
            self._call(act, self.chance.choice(active or list(listed)))

    def _call(self, act: str, name: str) -> None:
        method, path, more = _request(act, name)
        while True:
            call = self.ledger.invoke(self.name, act, name)
            unsent = self.unsent
            answer = self._ask(method, path, **more)
            if answer is not None and answer.status_code < 300:
                self.ledger.end(call, "ok")
                return
            if answer is not None and answer.status_code < 500:
                self.ledger.end(call, "fail", status=answer.status_code)
                if answer.status_code != 429:
                    return
            else:
                self.ledger.end(call, "fail" if self.unsent > unsent else "unknown")
            if self.chance.random() >= ASKS_AGAIN:
                return
            time.sleep(self.chance.uniform(0.1, 0.4))

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """What one of the webs answered; None when it did not."""
        self.asked += 1
        is_patient = method == "GET" or self.chance.random() >= IMPATIENT
        wait_seconds = REQUEST_SECONDS if is_patient else self.chance.uniform(*IMPATIENT_SECONDS)
        headers = {"Authorization": f"Bearer {self.token}", "Host": self.host, **more.pop("headers", {})}
        url = self.chance.choice(self.webs) + "/api/v1" + path
        try:
            # A connection of its own, so that one that cannot be made says that nothing was sent.
            with httpx.Client(timeout=wait_seconds) as client:
                answer = client.request(method, url, headers=headers, **more)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            self.unsent += 1
            return None
        except httpx.TransportError:
            self.left += not is_patient
            self.broken += is_patient
            return None
        self.errors += answer.status_code >= 500
        return answer


def _request(act: str, name: str) -> tuple[str, str, dict[str, Any]]:
    if act == "launch":
        body = {"application": "custom", "name": name, "size": "small", "custom": PROGRAM}
        return "POST", "/environments", {"json": body, "headers": {"Idempotency-Key": name}}
    if act in ("start", "stop"):
        return "POST", f"/environments/{name}/{act}", {}
    return "DELETE", f"/environments/{name}", {"params": {"workspace": act, "confirm": name}}
