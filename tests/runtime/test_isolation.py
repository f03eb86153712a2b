"""The command line of each level, what the machine is told to mend, and words for endings."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import Program
from cmbcluster.errors import StartRefused
from cmbcluster.packages.account import Account
from cmbcluster.runtime.local import endings, inside, isolation, limits
from cmbcluster.runtime.local.isolation import NONE, OWN_NETWORK, SANDBOX, Isolation, View, argv, check_level
from cmbcluster.runtime.local.machine import lowered
from cmbcluster.runtime.local.run_folder import Record, Status, split_stamp
from cmbcluster.runtime.wording import size
from tests.runtime.place import make_spec

MACHINE = Isolation(
    OWN_NETWORK,
    bwrap="/usr/bin/bwrap",
    pasta="/usr/bin/pasta",
    ip="/sbin/ip",
    system=(("--ro-bind", "/usr", "/usr"), ("--symlink", "usr/bin", "/bin"), ("--ro-bind", "/etc", "/etc")),
)
VIEW = View(
    command=("jupyter", "lab"),
    slug="act-dr6",
    workspace=Path("/data/environments/act-dr6/workspace"),
    build=Path("/data/builds/abc"),
    interpreter=Path("/home/u/.local/python/3.12"),
    files=Path("/data/environments/act-dr6/etc"),
    hidden=Path("/data"),
    outer_host="127.7.8.9",
    outer_port=40001,
    inner_port=8501,
    certificates=(Path("/home/u/ca.pem"), Path("/etc/ssl/ca.pem")),
    outspoken={"LD_LIBRARY_PATH": "/workspace/lib"},
)
SANDBOXED = [
    "/usr/bin/bwrap", "--unshare-user", "--uid", "1000", "--gid", "1000", "--disable-userns", "--unshare-pid",
    "--unshare-ipc", "--unshare-uts", "--hostname", "act-dr6", "--die-with-parent", "--new-session",
    "--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--tmpfs", "/run", "--proc", "/proc", "--dev", "/dev",
    "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--ro-bind", "/etc", "/etc",
    "--ro-bind", "/home/u/.local/python/3.12", "/home/u/.local/python/3.12",
    "--ro-bind", "/data/builds/abc", "/data/builds/abc",
    "--bind", "/data/environments/act-dr6/workspace", "/workspace",
    "--ro-bind", "/data/environments/act-dr6/etc/hosts", "/etc/hosts",
    "--ro-bind", "/data/environments/act-dr6/etc/passwd", "/etc/passwd",
    "--ro-bind", "/data/environments/act-dr6/etc/group", "/etc/group",
    "--ro-bind", "/data/environments/act-dr6/etc/resolv.conf", "RESOLV",
    "--ro-bind", "/home/u/ca.pem", "/home/u/ca.pem",
    "--setenv", "LD_LIBRARY_PATH", "/workspace/lib",
    "--remount-ro", "/", "--chdir", "/workspace", "--", "jupyter", "lab",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _resolver_where_it_is_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: "RESOLV" if path == "/etc/resolv.conf" else real(path))


def test_none_is_the_bare_command() -> None:
    assert argv(replace(MACHINE, level=NONE), VIEW) == ["jupyter", "lab"]


def test_the_sandbox_shows_the_system_the_build_and_the_workspace() -> None:
    assert argv(replace(MACHINE, level=SANDBOX), VIEW) == SANDBOXED


def test_own_network_has_one_port_inward() -> None:
    network = [
        "/usr/bin/pasta", "--foreground", "--quiet", "--config-net", "-u", "none", "-T", "none", "-U", "none",
        "--no-map-gw", "--dns-forward", "169.254.1.1", "-t", "127.7.8.9/40001:8501", "--",
    ]  # fmt: skip
    routes = ["/bin/sh", "-c", '"$1" -batch "$2" || exit 70; shift 2; exec "$@"', "sh", "/sbin/ip"]
    files = ["/data/environments/act-dr6/etc/routes"]
    assert argv(MACHINE, VIEW) == [*network, *routes, *files, *SANDBOXED]
    assert argv(replace(MACHINE, ip=""), VIEW) == [*network, *SANDBOXED]


def test_a_data_folder_below_a_shown_one_is_hidden() -> None:
    view = replace(VIEW, hidden=Path("/usr/cmb"), build=Path("/usr/cmb/builds/abc"), interpreter=Path("/usr/cmb/py"))
    words = argv(replace(MACHINE, level=SANDBOX), view)
    hidden = words.index("/usr/cmb")
    assert words[hidden - 1] == "--tmpfs"
    assert hidden < words.index("/usr/cmb/builds/abc")
    assert hidden < words.index("/usr/cmb/py")


def test_less_than_accepted_is_refused_with_the_command_that_mends_it() -> None:
    poor = Isolation(SANDBOX, "passt is not installed.", "sudo apt-get install passt")
    check_level(poor, "auto")
    check_level(poor, "sandbox")
    with pytest.raises(StartRefused, match=r"only has sandbox.*sudo apt-get install passt"):
        check_level(poor, "own-network")


def test_a_lower_level_can_be_asked_for_and_a_higher_cannot() -> None:
    assert lowered(MACHINE, NONE).level == NONE
    assert lowered(Isolation(NONE, "no tools"), SANDBOX) == Isolation(NONE, "no tools")


@pytest.mark.parametrize(
    ("absent", "level", "words"),
    [("bwrap", NONE, "bubblewrap is not installed"), ("pasta", SANDBOX, "passt is not installed")],
)
async def test_a_missing_tool_is_the_next_lower_level_and_says_so(
    absent: str, level: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def works(*_: object) -> None:
        return None

    monkeypatch.setattr(shutil, "which", lambda name, path="": None if name == absent else f"/usr/bin/{name}")
    monkeypatch.setattr(isolation, "_try", works)
    found = await isolation.probe(Account("me", 1000, 1000, changes=False))
    assert found.level == level
    assert words in found.missing


async def test_a_network_that_cannot_be_made_is_the_next_lower_level(monkeypatch: pytest.MonkeyPatch) -> None:
    async def only_bubblewrap(command: list[str], _: Account) -> str | None:
        return "No external routable interface" if "pasta" in command[0] else None

    monkeypatch.setattr(shutil, "which", lambda name, path="": f"/usr/bin/{name}")
    monkeypatch.setattr(isolation, "_try", only_bubblewrap)
    monkeypatch.setattr(isolation, "tun_closed", lambda _: ("", ""))
    found = await isolation.probe(Account("me", 1000, 1000, changes=False))
    assert found.level == SANDBOX
    assert "No external routable interface" in found.missing
    monkeypatch.setattr(isolation, "tun_closed", lambda _: ("/dev/net/tun is closed to it", "chmod a+rw /dev/net/tun"))
    found = await isolation.probe(Account("me", 1000, 1000, changes=False))
    assert (found.level, found.mend) == (SANDBOX, "chmod a+rw /dev/net/tun")
    assert "/dev/net/tun is closed to it" in found.missing


def test_words_in_braces_are_replaced_and_others_left() -> None:
    words = inside.places(OWN_NETWORK, Path("/b"), Path("/w"), 8501)
    text = "{port} {address} {bundled} {python} {workspace} {other} {} %s"
    assert inside.fill(text, words) == "8501 127.0.0.1 /b/bundled /b/bin/python /workspace {other} {} %s"
    assert inside.places(NONE, Path("/b"), Path("/w"), 1)["workspace"] == "/w"


def test_variables_are_clean_and_ours_are_not_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMB_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    program = Program(("x",), 8501, environment={"SERVER_PORT": "{port}", "PATH_TO": "{bundled}/app.py"})
    made = inside.variables(OWN_NETWORK, Path("/b"), Path("/w"), program, {"API_KEY": "k", "bad\0": "x"}, 8501)
    assert made["SERVER_PORT"] == "8501"
    assert made["PATH_TO"] == "/b/bundled/app.py"
    assert made["API_KEY"] == "k"
    assert made["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert made["HOME"] == "/workspace"
    assert made["PATH"].startswith("/b/bin:")
    assert not any(name.startswith(("CMB_", "AWS_", "bad")) for name in made)


def test_what_the_loader_obeys_is_set_inside_only() -> None:
    made = {"LD_PRELOAD": "/workspace/x.so", "GCONV_PATH": "/workspace", "API_KEY": "k"}
    assert inside.split_outspoken(SANDBOX, made) == (
        {"API_KEY": "k"},
        {"LD_PRELOAD": "/workspace/x.so", "GCONV_PATH": "/workspace"},
    )
    assert inside.split_outspoken(NONE, made) == (made, {})


def test_systemd_is_asked_for_all_three_limits() -> None:
    words = limits.systemd_words(make_spec("scoped", memory_bytes=2**30, processes=512), "cmb-x-scoped-1")
    assert {"MemoryMax=1073741824", "CPUQuota=100%", "TasksMax=512"} <= set(words)
    assert words[0] == "systemd-run"
    assert words[-1] == "--"


RECORD = Record(
    uuid.UUID(int=1), "x", 1, "", 8501, "/", 120, 4 * 1024**3, 512, datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip
OVER = Status(1, 1, 2, "other-boot", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), 1, "exited")


@pytest.mark.parametrize(
    ("record", "status", "reason", "what"),
    [
        ({}, {"reason": "memory"}, StopReason.MEMORY, "It used more than 4 GiB and was stopped."),
        ({}, {"reason": "processes"}, StopReason.PROCESSES, "It had more than 512 processes and was stopped."),
        ({}, {"exit_code": 0}, StopReason.EXITED, "It ended by itself before it answered, without an error."),
        (
            {"never_ready": True},
            {},
            StopReason.NEVER_READY,
            "It started, but nothing answered on port 8501 within 2 min.",
        ),
        (
            {"ready_at": datetime(2026, 1, 1, tzinfo=UTC)},
            {"exit_code": 139},
            StopReason.EXITED,
            "It was ended by the signal SIGSEGV.",
        ),
        ({}, {"ended_at": None}, StopReason.LOST, "It ended when this machine was started anew."),
        (
            {"stop_asked_at": datetime(2026, 1, 1, tzinfo=UTC)},
            {"reason": "stopped", "exit_code": 143},
            StopReason.CANCELLED,
            "It was stopped before it was ready.",
        ),
    ],
)
def test_endings_are_two_sentences(
    record: dict[str, object], status: dict[str, object], reason: StopReason, what: str
) -> None:
    ending = endings.of_status(replace(RECORD, **record), replace(OVER, **status), "tail")  # type: ignore[arg-type]
    assert (ending.reason, ending.what) == (reason, what)
    assert ending.then.endswith(".")


@pytest.mark.parametrize(
    ("size_bytes", "words"), [(4 * 1024**3, "4 GiB"), (1536 * 1024**2, "1.5 GiB"), (128 * 1024**2, "128 MiB")]
)
def test_sizes_are_said_as_people_say_them(size_bytes: int, words: str) -> None:
    assert size(size_bytes) == words


def test_log_lines_lose_colours_and_keep_their_time() -> None:
    at, text = split_stamp("2026-01-02T03:04:05.678+00:00 \x1b[31mred\x1b[0m\x07 α")
    assert at == datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert text == "red α"
    assert split_stamp("no stamp") == (None, "no stamp")


async def test_an_old_bubblewrap_is_used_without_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    async def old(command: list[str], _: Account) -> str | None:
        return "bwrap: Unknown option --disable-userns" if "--disable-userns" in command else None

    monkeypatch.setattr(shutil, "which", lambda name, path="": f"/usr/bin/{name}")
    monkeypatch.setattr(isolation, "_try", old)
    found = await isolation.probe(Account("me", 1000, 1000, changes=False))
    assert found.level == OWN_NETWORK
    assert "--disable-userns" not in argv(found, VIEW)
