"""One way to ask the API server, on the official client: signed in by it, answered in plain JSON.

Objects stay dictionaries, since a model of the client drops fields it does not know. What
the server refuses is told apart from what it could not answer; only the latter is tried
again here, a few times and later each time. This module must never decide what an answer means.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config, refresh_token

from cmbcluster.errors import RuntimeUnavailable, StartRefused

Json = dict[str, Any]
REQUEST_SECONDS = 15.0
TRIES = 4
PAGE = "500"
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
GOODBYE_SECONDS = 0.1
MESSAGE_LENGTH = 1000
# Of a server whose store was set back: what we know of is still to come there.
TOO_LARGE = "Too large resource version"
# Not the server's own trouble, and told as a refusal: trying again is of use for a while only.
SILENT_WEBHOOK = "failed calling webhook"
_BUSY = frozenset({429, 500, 502, 503, 504})
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)


class ApiRefused(Exception):
    """The server understood and says no. ``message`` is its own, cut short."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        self.message = message[:MESSAGE_LENGTH]
        super().__init__(f"{status} {reason}: {self.message}")


class ResourceGone(Exception):
    """What was watched is too old for the server, or too new; everything has to be listed again."""


class ApiBusy(Exception):
    """The server did not answer, or not now. ``retry_after_seconds`` is what it asked for."""

    def __init__(self, why: str, retry_after_seconds: float = 0.0) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(why)


class Cluster:
    """Requests to the API server. ``close`` it."""

    def __init__(self, configuration: Configuration, renewal: asyncio.Task[None] | None = None) -> None:
        # We try again ourselves, where we know what can be repeated.
        configuration.retries = None
        self._client = ApiClient(configuration)
        self._client.user_agent = "cmbcluster"
        self._renewal = renewal

    async def close(self) -> None:
        """Close the connections."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
        await self._client.close()
        # TLS says goodbye in the background, which aiohttp does not wait for.
        await asyncio.sleep(GOODBYE_SECONDS)

    async def get(self, path: str, **query: str) -> Json | None:
        """An object or a list, or None when it is positively not there."""
        try:
            return await self._ask("GET", path, query)
        except ApiRefused as refused:
            if refused.status == 404:
                return None
            raise

    async def pages(self, path: str, **query: str) -> list[Json]:
        """A whole list, read in pages; RuntimeUnavailable when its first pages grew too old meanwhile."""
        found: list[Json] = []
        following: dict[str, str] = {}
        while True:
            try:
                page = await self.get(path, **query, limit=PAGE, **following)
            except ResourceGone as gone:
                raise RuntimeUnavailable(f"The list grew too old while it was read: {gone}") from gone
            if page is None:
                return found
            found += page.get("items") or ()
            if not page["metadata"].get("continue"):
                return found
            following = {"continue": page["metadata"]["continue"]}

    async def create(self, path: str, body: Json) -> Json | None:
        """Make an object; None when one of that name is there, which the caller has to read."""
        try:
            return await self._ask("POST", path, {}, body)
        except ApiRefused as refused:
            if refused.status == 409:
                return None
            raise

    async def patch(self, path: str, body: Json) -> Json | None:
        """Merge ``body`` into an object; None when it is not there."""
        try:
            return await self._ask("PATCH", path, {}, body, "application/merge-patch+json")
        except ApiRefused as refused:
            if refused.status == 404:
                return None
            raise

    async def delete(self, path: str, *, uid: str = "", grace_seconds: int | None = None) -> bool:
        """Ask for an object's end, if it still is the one of ``uid``; False when it is gone already."""
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            await self._ask("DELETE", path, {}, body)
        except ApiRefused as refused:
            if refused.status == 404:
                return False
            if refused.status == 409:
                found = await self.get(path)
                if found is None or (uid and found["metadata"]["uid"] != uid):
                    return False
                raise RuntimeUnavailable("The cluster is changing that object at the moment.") from refused
            raise
        return True

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str], silence_seconds: float) -> AsyncIterator[Lines]:
        """The lines of an answer that goes on, until the server ends it.

        Raises ApiRefused, ResourceGone or ApiBusy, the last also after ``silence_seconds`` without a word.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=silence_seconds)
        try:
            response = await self._send("GET", path, query, None, "application/json", limits)
        except _BROKEN as broken:
            raise ApiBusy(f"no answer: {broken!r}") from broken
        async with response:
            await _check(response)
            yield Lines(response)

    async def _ask(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None = None, kind: str = "application/json"
    ) -> Json:
        limits = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        pause_seconds = FIRST_PAUSE_SECONDS
        for attempt in range(1, TRIES + 1):
            try:
                response = await self._send(method, path, query, body, kind, limits)
                async with response:
                    await _check(response)
                    return await _object(response)
            except ApiRefused as refused:
                # Somebody changed the object at the same time; only who makes or deletes one has to look first.
                if refused.status != 409 or method not in ("GET", "PATCH") or attempt == TRIES:
                    raise
                wait_seconds = pause_seconds
            except ApiBusy as busy:
                wait_seconds = max(busy.retry_after_seconds, pause_seconds)
                if attempt == TRIES or wait_seconds > LONGEST_PAUSE_SECONDS:
                    raise RuntimeUnavailable(f"The cluster did not answer: {busy}") from busy
            except _BROKEN as broken:
                wait_seconds = pause_seconds
                if attempt == TRIES:
                    raise RuntimeUnavailable(f"The cluster did not answer: {broken!r}") from broken
            await asyncio.sleep(wait_seconds * random.uniform(0.8, 1.4))  # noqa: S311
            pause_seconds *= 2
        raise RuntimeUnavailable("The cluster did not answer.")

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None,
        kind: str,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        _, url, headers, sent, _ = await self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json", "Content-Type": kind},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._client.call_api(method, url, headers, sent, _request_timeout=limits)
        response: aiohttp.ClientResponse = answer.response
        return response


async def connected(context: str) -> Cluster:
    """The cluster we run in, by this pod's own account, else that of the kubeconfig. Raises StartRefused."""
    made = Configuration()
    try:
        load_incluster_config(client_configuration=made)
    except ConfigException:
        pass
    else:
        return Cluster(made)
    try:
        loader = await load_kube_config(context=context or None, client_configuration=made, persist_config=False)
    except (ConfigException, OSError) as wrong:
        raise StartRefused(
            f"The cluster's address cannot be found: {wrong}\n"
            "Set KUBECONFIG to a kubeconfig, and CMB_KUBERNETES_CONTEXT to one of its contexts."
        ) from wrong
    # A token that a program of the kubeconfig gives out does not last.
    return Cluster(made, asyncio.create_task(refresh_token(loader, made), name="renew the cluster's token"))


class Lines:
    """The lines of one answer, as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for line in self._response.content:
                yield line
        except ValueError as too_long:
            raise ApiBusy("a line was too long") from too_long
        except _BROKEN as broken:
            raise ApiBusy(f"the answer broke off: {broken!r}") from broken


async def _check(response: aiohttp.ClientResponse) -> None:
    """Raise what an answer that is no success means."""
    if response.status < 300:
        return
    text = (await response.read()).decode(errors="replace")
    try:
        said = json.loads(text)
        reason, message = str(said.get("reason", "")), str(said.get("message", ""))
    except (ValueError, AttributeError):
        reason, message = "", text
    if response.status == 410 or (response.status == 504 and TOO_LARGE in message):
        raise ResourceGone(message[:MESSAGE_LENGTH])
    if response.status in _BUSY and SILENT_WEBHOOK not in message:
        raise ApiBusy(f"{response.status} {message[:200]}", _retry_after(response.headers.get("Retry-After", "")))
    raise ApiRefused(response.status, reason, message)


async def _object(response: aiohttp.ClientResponse) -> Json:
    try:
        made = json.loads(await response.read())
    except ValueError as wrong:
        raise ApiBusy("the answer is not JSON") from wrong
    if not isinstance(made, dict):
        raise ApiBusy("the answer is not an object")
    return made


def _retry_after(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0
