"""``python -m tests.kubernetes.mirror_server HOST PORT FOLDER``: a caching mirror of the package index.

It keeps the index's own words about each file, the time of upload among them, which a catalogue entry with a date is
resolved by. Only files of hosts that the index itself named are fetched.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import ssl
import sys
from collections import defaultdict
from pathlib import Path

import httpx
import uvicorn
from pip._internal.models.index import PyPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

JSON = "application/vnd.pypi.simple.v1+json"
_HOST = re.compile(r'"url":\s*"https://([^/"]+)/')
_FILE = re.compile(r'"url":\s*"https://')
_TOLD = ("content-length", "content-range", "accept-ranges", "etag", "last-modified")
ACCEPT = {"Accept": f"{JSON}, */*;q=0.1"}
CONNECTIONS = 12
SECONDS = 120
TRIES = 3


class Mirror:
    """What was asked for once is kept below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = (os.environ.get("PIP_INDEX_URL") or PyPI.simple_url).rstrip("/")
        context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
        # Few connections that stay: each new one asks for the address of the name, hundreds of times otherwise.
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=60)
        self._client = httpx.AsyncClient(verify=context, timeout=SECONDS, limits=limits, follow_redirects=True)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._projects: dict[str, Response] = {}
        self._hosts: set[str] = set()

    async def project(self, request: Request) -> Response:
        """All files of one project, to be fetched through here."""
        name = request.path_params["name"]
        async with self._locks[name]:
            if name not in self._projects:
                answer = await self._ask(f"{self._index}/{name}/")
                if answer.status_code != 200:
                    return Response(status_code=answer.status_code)
                self._hosts |= set(_HOST.findall(answer.text))
                # As text, since reading the thousands of files of some projects takes longer than fetching them.
                told = _FILE.sub(rf'"url":"{request.base_url}files/', answer.text)
                self._projects[name] = Response(told, media_type=JSON)
        return self._projects[name]

    async def file(self, request: Request) -> Response:
        """A file, or what is known of it."""
        rest: str = request.path_params["rest"]
        if rest.partition("/")[0] not in self._hosts:
            return Response(status_code=404)
        kept = self._folder / hashlib.sha256(rest.encode()).hexdigest()
        if not kept.exists() and (request.method == "HEAD" or "range" in request.headers):
            # Whoever chooses versions reads a few bytes at the end of many files and takes none of them.
            return await self._glimpse(request, f"https://{rest}")
        async with self._locks[rest]:
            if not kept.exists():
                answer = await self._ask(f"https://{rest}")
                if answer.status_code != 200:
                    return Response(status_code=answer.status_code)
                half = kept.with_suffix(".half")
                half.write_bytes(answer.content)
                half.rename(kept)
        return FileResponse(kept, media_type="application/octet-stream")

    async def _glimpse(self, request: Request, url: str) -> Response:
        asked = {name: request.headers[name] for name in ("range",) if name in request.headers}
        answer = await self._ask(url, request.method, {"Accept-Encoding": "identity"} | asked)
        headers = {name: answer.headers[name] for name in _TOLD if name in answer.headers}
        return Response(answer.content, answer.status_code, headers)

    async def _ask(self, url: str, method: str = "GET", headers: dict[str, str] = ACCEPT) -> httpx.Response:
        for number in range(TRIES):
            try:
                return await self._client.request(method, url, headers=headers)
            except httpx.TransportError:
                if number == TRIES - 1:
                    raise
        raise AssertionError("not reached")


if __name__ == "__main__":
    host, port, where = sys.argv[1:]
    mirror = Mirror(Path(where))
    routes = [Route("/simple/{name}/", mirror.project), Route("/files/{rest:path}", mirror.file)]
    uvicorn.run(Starlette(routes=routes), host=host, port=int(port), log_level="warning")
