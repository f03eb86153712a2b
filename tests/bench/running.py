"""``cmbcluster up`` as a program of its own, on a data folder and port of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from cmbcluster.domain.gate import SESSION_COOKIE
from tests.bench.report import ROOT
from tests.bench.surroundings import free_port

# The first start builds the pages.
READY_SECONDS = 300.0
STOP_SECONDS = 60.0
LOOK_SECONDS = 0.01


@dataclass
class Up:
    """One running platform. ``ready_seconds``: from the start of the program to its first answer."""

    port: int
    process: subprocess.Popen[bytes]
    ready_seconds: float

    @property
    def url(self) -> str:
        """Address of the dashboard."""
        return f"http://localhost:{self.port}"

    def family(self) -> list[psutil.Process]:
        """It and everything it started."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def sign_in(self, person: str = "elena") -> str:
        """The session cookie's value of a test person, as the sign-in page gets it."""
        with httpx.Client(base_url=self.url) as client:
            answer = client.post("/auth/development", data={"person": person}, headers={"Origin": self.url})
            return answer.cookies[SESSION_COOKIE]


@contextmanager
def up(data: Path, port: int = 0) -> Iterator[Up]:
    """Start it, wait until it answers, and end it as Ctrl-C does."""
    port = port or free_port()
    surroundings = {name: value for name, value in os.environ.items() if not name.upper().startswith("CMB_")}
    surroundings |= {"CMB_DATA_DIR": str(data), "CMB_PORT": str(port), "PYTHONPATH": str(ROOT)}
    # All people of a benchmark come from one address.
    surroundings |= {"CMB_SOCKETS_PER_MINUTE": "1000000", "CMB_SOCKETS_OF_ADDRESS_AT_ONCE": "100000"}
    surroundings |= {"CMB_SIGN_INS_PER_MINUTE": "100000", "CMB_API_REQUESTS_PER_MINUTE": "10000000"}
    data.mkdir(exist_ok=True)
    log = data / "up-output.txt"
    began = time.perf_counter()
    with log.open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "cmbcluster", "up"],
            cwd=data,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        _until_ready(process, port, log, began)
        yield Up(port, process, time.perf_counter() - began)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(process: subprocess.Popen[bytes], port: int, log: Path, began: float) -> None:
    while time.perf_counter() - began < READY_SECONDS:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": f"localhost:{port}"}).is_success:
                return
        except httpx.HTTPError:
            time.sleep(LOOK_SECONDS)
    raise RuntimeError(f"not ready within {READY_SECONDS:g} s:\n{log.read_text()[-4000:]}")
