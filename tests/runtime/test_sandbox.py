"""What an environment can see and reach, asked from inside."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import socketserver
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from cmbcluster.runtime.local.runtime import LocalRuntime
from cmbcluster.runtime.port import Endpoint, Sight, Spec
from tests.runtime.place import make_spec, python, settings_for, stop_and_remove, until

pytestmark = pytest.mark.sandbox

# Runs what it is sent as Python and answers with the repr of ``answer``.
ASKED = """
import http.server, json, os, socket, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def do_POST(self):
        names = {}
        code = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            exec(code, names)
            body = json.dumps(names.get("answer"))
        except Exception as wrong:
            body = json.dumps(f"{type(wrong).__name__}: {wrong}")
        self.send_response(200); self.end_headers(); self.wfile.write(body.encode())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
CONNECT = """
import socket
def reach(host, port):
    with socket.socket() as s:
        s.settimeout(1)
        try:
            s.connect((host, port)); return "open"
        except OSError as wrong:
            return type(wrong).__name__
"""


@pytest.fixture
async def runtime(data: Path) -> AsyncIterator[LocalRuntime]:
    opened = LocalRuntime(settings_for(data))
    await opened.open()
    yield opened
    await opened.close()


@contextlib.asynccontextmanager
async def inside(runtime: LocalRuntime, *slugs: str, **changes: Any) -> AsyncIterator[list[Endpoint]]:
    """Environments that do what they are told; gives where on this machine they answer."""
    specs = [make_spec(slug, python(ASKED, "{port}"), **changes) for slug in slugs]
    for spec in specs:
        await runtime.start(spec)
    try:
        yield [await _port(runtime, spec) for spec in specs]
    finally:
        await stop_and_remove(runtime, *specs)


async def _port(runtime: LocalRuntime, spec: Spec) -> Endpoint:
    seen = await until(runtime, spec.ref, Sight.RUNNING, Sight.EXITED)
    assert seen.endpoint is not None, seen
    return seen.endpoint


async def ask(where: Endpoint, code: str) -> Any:
    """Run code inside and return what it left in ``answer``."""

    def call() -> Any:
        with urllib.request.urlopen(f"http://{where.host}:{where.port}/", data=code.encode(), timeout=20) as answer:
            return json.load(answer)

    return await asyncio.to_thread(call)


@pytest.fixture
def service_of_this_machine() -> Iterator[int]:
    """Something that listens on this machine's loopback and on all its addresses, like a database would."""
    with socketserver.ThreadingTCPServer(("0.0.0.0", 0), socketserver.BaseRequestHandler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def addresses_of_this_machine() -> list[str]:
    """Where this machine can be reached, as the routing table says."""
    found = ["127.0.0.1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.254", 9))
        found.append(probe.getsockname()[0])
    return found


async def test_services_of_this_machine_cannot_be_reached(runtime: LocalRuntime, service_of_this_machine: int) -> None:
    with socket.create_connection(("127.0.0.1", service_of_this_machine), timeout=3):
        pass
    gateway = Path("/proc/net/route").read_text().splitlines()[1].split()[2]
    gate = ".".join(str(int(gateway[i : i + 2], 16)) for i in (6, 4, 2, 0))
    async with inside(runtime, "curious") as [port]:
        for address in [*addresses_of_this_machine(), gate, "169.254.1.1"]:
            code = f"{CONNECT}\nanswer = reach({address!r}, {service_of_this_machine})"
            assert await ask(port, code) != "open", address


async def test_another_environment_cannot_be_reached(runtime: LocalRuntime) -> None:
    async with inside(runtime, "mine", "theirs") as [mine, theirs]:
        assert await ask(mine, "answer = 1 + 1") == 2
        for address in (*addresses_of_this_machine(), theirs.host):
            assert await ask(mine, f"{CONNECT}\nanswer = reach({address!r}, {theirs.port})") != "open"
        assert await ask(mine, f"{CONNECT}\nanswer = reach('127.0.0.1', 8501)") == "open"


async def test_it_answers_on_an_address_of_its_own_and_not_where_everybody_looks(runtime: LocalRuntime) -> None:
    """Other programs of this machine, a browser above all, know 127.0.0.1 and the ports on it."""
    async with inside(runtime, "apart", "aside") as [one, other]:
        assert one.host.startswith("127.")
        assert len({one.host, other.host, "127.0.0.1"}) == 3
        for wrong in ("127.0.0.1", other.host):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((wrong, one.port), timeout=3)


async def test_what_the_platform_has_open_is_not_open_inside(runtime: LocalRuntime, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("ours")
    given = os.open(secret, os.O_RDONLY)
    # The first free numbers from these on: what pytest itself has open must stay open.
    numbers = [fcntl.fcntl(given, fcntl.F_DUPFD, least) for least in (10, 251)]
    try:
        async with inside(runtime, "frugal") as [where]:
            code = (
                "import os\nanswer = {n: os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') "
                "if os.path.exists(f'/proc/self/fd/{n}')}"
            )
            opened = await ask(where, code)
            assert not any("secret" in target for target in opened.values()), opened
            assert not {str(number) for number in numbers} & set(opened), opened
            for status in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    if b"supervisor.py" in status.read_bytes():
                        links = [os.readlink(link) for link in (status.parent / "fd").iterdir()]
                        assert str(secret) not in links
    finally:
        for number in (given, *numbers):
            os.close(number)


async def test_the_credentials_of_a_cloud_machine_cannot_be_asked_for(runtime: LocalRuntime) -> None:
    async with inside(runtime, "cloudy") as [port]:
        code = f"import subprocess\n{CONNECT}\nanswer = reach('169.254.169.254', 80)"
        assert await ask(port, code) == "OSError"


async def test_our_data_and_other_workspaces_are_not_there(runtime: LocalRuntime, data: Path) -> None:
    (data / "secret.db").write_text("ours")
    async with inside(runtime, "looks-around", "has-files") as [port, other]:
        await ask(other, "open('/workspace/private.txt', 'w').write('theirs')")
        assert (data / "environments/has-files/workspace/private.txt").read_text() == "theirs"
        for path in (data / "secret.db", data / "environments", data / "uv-cache", Path("/root"), Path("/home")):
            assert await ask(port, f"import os\nanswer = os.path.exists({str(path)!r})") is False, path
        tops = ("/tmp", "/var", "/home", "/run", "/mnt", "/workspace")
        code = f"import os\nanswer = [d for top in {tops} for d, _, names in os.walk(top) if 'private.txt' in names]"
        assert await ask(port, code) == []
    (data / "secret.db").unlink()


async def test_it_has_its_workspace_and_little_else(runtime: LocalRuntime, data: Path) -> None:
    async with inside(runtime, "tidy") as [port]:
        code = """
import os, socket, sys, getpass
def writable(path):
    try:
        with open(path + '/probe', 'w'): pass
        os.unlink(path + '/probe')
        return True
    except OSError:
        return False
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
answer = {
    'cwd': os.getcwd(), 'home': os.environ['HOME'], 'uid': os.getuid(), 'user': getpass.getuser(),
    'host': socket.gethostname(), 'self': socket.gethostbyname(socket.gethostname()),
    'pids': sum(name.isdigit() for name in os.listdir('/proc')), 'tmp': os.listdir('/tmp'),
    'writable': [p for p in ('/', '/usr', '/etc', '/opt', '/workspace', '/tmp', sys.prefix) if writable(p)],
    'caps': status['CapEff'].strip(), 'privileges': status['NoNewPrivs'].strip(),
    'ours': [name for name in os.environ if name.startswith(('CMB_', 'UV_', 'PYTEST'))],
    'core': __import__('resource').getrlimit(4)[0],
}
"""
        told = await ask(port, code)
    # The build lies below /tmp in this test, so its folder is all that /tmp shows.
    assert [name for name in told.pop("tmp") if not name.startswith("cmb-")] == []
    assert told.pop("pids") < 6
    assert told == {
        "cwd": "/workspace",
        "home": "/workspace",
        "uid": 1000,
        "user": "researcher",
        "host": "tidy",
        "self": "127.0.0.1",
        "writable": ["/workspace", "/tmp"],
        "caps": "0000000000000000",
        "privileges": "1",
        "ours": [],
        "core": 0,
    }


async def test_files_survive_stop_and_start(runtime: LocalRuntime) -> None:
    first = make_spec("keeps", python(ASKED, "{port}"))
    await runtime.start(first)
    await ask(await _port(runtime, first), "open('note.txt', 'w').write('kept')")
    await runtime.stop(first.ref)
    await until(runtime, first.ref, Sight.EXITED)
    second = make_spec("keeps", python(ASKED, "{port}"), generation=2)
    await runtime.start(second)
    assert await ask(await _port(runtime, second), "answer = open('note.txt').read()") == "kept"
    await stop_and_remove(runtime, second)


async def test_variables_arrive_and_are_in_no_command_line_and_no_file(runtime: LocalRuntime, data: Path) -> None:
    secret = "sk-very-secret-value"
    async with inside(runtime, "keyed", variables={"API_KEY": secret, "LD_LIBRARY_PATH": "/workspace/lib"}) as [port]:
        told = await ask(port, "import os\nanswer = [os.environ['API_KEY'], os.environ['LD_LIBRARY_PATH']]")
        assert told == [secret, "/workspace/lib"]
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                assert secret.encode() not in line.read_bytes()
        for file in (data / "environments/keyed/runs").rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file
        assert (data / "environments/keyed/runs").stat().st_mode & 0o077 == 0


async def test_a_library_of_the_workspace_is_not_loaded_outside(runtime: LocalRuntime, data: Path) -> None:
    """LD_PRELOAD must reach the program alone: the sandbox's own tools run before it is closed."""
    spec = make_spec("preload", python(ASKED, "{port}"), variables={"LD_PRELOAD": "/workspace/evil.so"})
    await runtime.start(spec)
    port = await _port(runtime, spec)
    assert await ask(port, "import os\nanswer = os.environ['LD_PRELOAD']") == "/workspace/evil.so"
    # The loader complains once for each program it loads for; inside that is python alone.
    lines = [line.text async for line in runtime.logs(spec.ref, offset=0, follow=False)]
    complaints = [line for line in lines if "evil.so" in line]
    assert len(complaints) == 1
    await stop_and_remove(runtime, spec)


async def test_the_way_out_is_there(runtime: LocalRuntime) -> None:
    """A default route, and the machine's own resolver: no test of ours talks to a stranger's server."""
    async with inside(runtime, "online") as [port]:
        routes = await ask(port, "answer = open('/proc/net/route').read()")
        assert any(line.split()[1] == "00000000" for line in str(routes).splitlines()[1:])


async def test_names_resolve_as_on_the_machine(runtime: LocalRuntime) -> None:
    """Also where the machine resolves nothing, which must then be so inside."""
    try:
        await asyncio.wait_for(asyncio.to_thread(socket.getaddrinfo, "example.org", 443), 3)
        outside = True
    except (OSError, TimeoutError):
        outside = False
    look = (
        "import socket\ntry:\n    answer = bool(socket.getaddrinfo('example.org', 443))\n"
        "except OSError:\n    answer = False"
    )
    async with inside(runtime, "resolver") as [port]:
        assert await ask(port, look) is outside
