"""Which addresses keep a room on this machine's network, and what a room is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmbcluster.packages.room import Openings, Place, Room, around, asks_this_machine, proxies

ROOM = Room("/usr/bin/bwrap", "/usr/bin/pasta", "", (("--ro-bind", "/usr", "/usr"),))
PLACE = Place(hidden=Path("/data"), home=Path("/data/uv-home"), files=Path("/data/room"), configured=(Path("/"),))


@pytest.mark.parametrize(
    ("told", "here"),
    [
        ("http://127.0.0.1:3141/mirror/simple", True),
        ("https://user:pass@localhost/simple", True),
        ("http://[::1]:8080/simple", True),
        ('[[index]]\nurl = "http://127.9.9.9/simple"', True),
        ("https://mirror.example/simple", False),
        ("https://mirror.example/127.0.0.1/localhost", False),
        ("/opt/wheels", False),
    ],
)
def test_only_an_address_of_this_machine_needs_its_network(told: str, here: bool) -> None:
    assert asks_this_machine([told]) is here


def test_a_proxy_may_be_written_without_a_scheme() -> None:
    told = proxies({"HTTPS_PROXY": "localhost:3128", "no_proxy": "127.0.0.1", "PATH": "/bin"})
    assert told == ["http://localhost:3128"]
    assert asks_this_machine(told)


def test_the_data_folder_is_hidden_after_all_that_the_configuration_names() -> None:
    words = around(ROOM, PLACE, Openings(writable=(Path("/data/builds/x"),)), Path("/data/builds/x"), ["uv"])
    assert words[0] == "/usr/bin/pasta"
    hidden = words.index("/data")
    assert words[hidden - 1] == "--tmpfs"
    assert words.index("--ro-bind-try") < hidden < words.index("/data/builds/x")


def test_what_needs_no_network_has_none() -> None:
    words = around(ROOM, PLACE, Openings(network=False), Path("/data/x"), ["python"])
    assert words[0] == "/usr/bin/bwrap"
    assert "--unshare-net" in words
