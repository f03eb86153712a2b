"""The API as the client speaks it: JSON over HTTP, refusals as sentences with an exit status.

Must never follow a redirect, which could carry the token elsewhere, nor print the token.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from cmbcluster import __version__
from cmbcluster.commands.client.account import Account
from cmbcluster.commands.client.exits import ClientRefused, Exit, exit_of

BASE = "/api/v1"
ANSWER_SECONDS = 30.0
TRIES = 3
WAIT_SECONDS = 30
PAGE_ROWS = 100


class Connection:
    """An open way to one platform."""

    def __init__(self, account: Account, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._url = account.url
        self._client = httpx.Client(
            base_url=account.url + BASE,
            headers={"Authorization": f"Bearer {account.token}", "User-Agent": f"cmbcluster/{__version__}"},
            timeout=answer_seconds,
            follow_redirects=False,
        )

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(self, method: str, path: str, *, tries: int = 1, **more: Any) -> Any:
        """What the API answers; ``tries`` above one for what may be asked for again without harm."""
        for left in reversed(range(tries)):
            try:
                with self._reached():
                    return self._read(self._client.request(method, path, **more))
            except ClientRefused as refused:
                if refused.exit_code is not Exit.AWAY or not left:
                    raise
                time.sleep(TRIES - left)
        raise AssertionError("at least one try")

    def rows(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        """Every row of a list, page after page."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.ask("GET", path, params={**parameters, "limit": PAGE_ROWS, "cursor": cursor}, tries=TRIES)
            found += page["items"]
            cursor = page["next"]
        return found

    def wait(self, name: str, until: str) -> dict[str, Any]:
        """The environment when it runs or rests; it may rest although it was to run."""
        parameters = {"until": until, "timeout_seconds": WAIT_SECONDS}
        while True:
            answer = self.ask(
                "GET", f"{environment_path(name)}/wait", params=parameters, timeout=WAIT_SECONDS + 15, tries=TRIES
            )
            found: dict[str, Any] = answer["environment"]
            if answer["reached"] or (until == "running" and found["phase"] in ("stopped", "failed")):
                return found

    def lines(self, name: str, *, follow: bool, offset: int, previous: bool = False) -> Iterator[dict[str, Any]]:
        """Lines of output; after a lost connection it goes on where it was. ``previous``: of the run before."""
        tries = TRIES
        while True:
            try:
                for line in self._lines(name, follow, offset, previous):
                    offset, tries = line["offset"], TRIES
                    yield line
                return
            except ClientRefused as refused:
                tries -= 1
                if refused.exit_code is not Exit.AWAY or not follow or not tries:
                    raise
                time.sleep(1)

    def _lines(self, name: str, follow: bool, offset: int, previous: bool) -> Iterator[dict[str, Any]]:
        parameters: dict[str, str | int] = {"follow": str(follow).lower(), "offset": offset}
        if previous:
            # Only then: a platform of before does not know the word.
            parameters["previous"] = "true"
        timeout = httpx.Timeout(ANSWER_SECONDS, read=None if follow else ANSWER_SECONDS)
        path = f"{environment_path(name)}/logs"
        with self._reached(), self._client.stream("GET", path, params=parameters, timeout=timeout) as answer:
            if answer.is_error:
                answer.read()
                self._read(answer)
            for line in answer.iter_lines():
                if line:
                    yield json.loads(line)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as lost:
            raise ClientRefused(
                Exit.AWAY, f"CMBCluster does not answer at {self._url}.", "Check the address, or try again in a moment."
            ) from lost

    def _read(self, answer: httpx.Response) -> Any:
        if answer.is_success:
            return self._json(answer) if answer.content else None
        if answer.is_redirect:
            raise self._stranger()
        problem = self._json(answer) if "json" in answer.headers.get("content-type", "") else {}
        if not problem and answer.status_code not in (502, 503, 504):
            raise self._stranger()
        what = str(problem.get("title") or f"CMBCluster is starting or stopping at {self._url}.")
        then = str(problem.get("detail") or ("" if problem else "Try again in a moment."))
        if problem.get("field"):
            then = f"{then} ({problem['field']})"
        raise ClientRefused(exit_of(answer.status_code, str(problem.get("code", ""))), what, then)

    def _json(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError as wrong:
            raise self._stranger() from wrong

    def _stranger(self) -> ClientRefused:
        return ClientRefused(Exit.AWAY, f"Something else answers at {self._url}.", "Check the address.")


def environment_path(name: str) -> str:
    """The path of an environment, whatever was typed for its name."""
    return f"/environments/{quote(name, safe='')}"
