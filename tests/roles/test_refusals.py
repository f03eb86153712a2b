"""What a role refuses before it opens anything, with a sentence that says what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cmbcluster.commands.roles.controller import Controller
from cmbcluster.commands.roles.edge import Edge
from cmbcluster.commands.roles.gate import Gate
from cmbcluster.commands.roles.process import Role, run_role
from cmbcluster.commands.roles.web import Web
from cmbcluster.commands.up import run_up
from cmbcluster.edge.places import TcpPlace, listen
from cmbcluster.edge.relay import Relay
from cmbcluster.errors import StartRefused
from cmbcluster.settings import Settings, load_settings
from tests.edge.stand_ins import ScriptedAccess

DATABASE = "postgresql://cmb:secret@127.0.0.1:1/none"


CLUSTER = {"runtime": "kubernetes", "workspace_image": "none"}


def settings_of(folder: Path, **more: object) -> Settings:
    return Settings(data_dir=folder, _env_file=None, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", [Web, Gate, Controller])
def test_sqlite_serves_one_process_alone(role: type[Role], tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with pytest.raises(StartRefused, match="Set CMB_DATABASE_URL"):
        run_role(settings, role(settings))  # type: ignore[call-arg]


@pytest.mark.parametrize("role", [Web, Gate])
def test_replicas_share_their_keys(role: type[Role], tmp_path: Path) -> None:
    settings = settings_of(tmp_path, database_url=DATABASE, **CLUSTER)
    with pytest.raises(StartRefused, match="cmbcluster admin make-keys"):
        run_role(settings, role(settings))  # type: ignore[call-arg]


@pytest.mark.parametrize("role", [Web, Controller])
def test_environments_of_this_machine_belong_to_one_process(role: type[Role], tmp_path: Path) -> None:
    settings = settings_of(tmp_path, database_url=DATABASE)
    with pytest.raises(StartRefused, match="CMB_RUNTIME=kubernetes"):
        run_role(settings, role(settings))  # type: ignore[call-arg]


def test_the_edge_must_find_this_very_relay(tmp_path: Path) -> None:
    given = {"database_url": DATABASE, "token_keys_file": tmp_path / "keys", "relay_bind": "0.0.0.0:8203"}
    with pytest.raises(StartRefused, match="CMB_RELAY_UPSTREAM"):
        Gate(settings_of(tmp_path, **given)).check()
    Gate(settings_of(tmp_path, **given, relay_upstream="10.1.2.3:8203")).check()


def test_people_sign_in_somewhere(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, identity="elsewhere", token_keys_file=tmp_path / "keys")
    with pytest.raises(StartRefused, match="CMB_IDENTITY=oidc"):
        Web(settings).check()
    with pytest.raises(StartRefused, match="CMB_IDENTITY=oidc"):
        run_up(settings)


def test_who_signs_nobody_in_needs_no_secret_of_a_provider(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, identity="elsewhere", google_client_id="id", bind_address="0.0.0.0")
    Edge(settings).check()


@pytest.mark.parametrize("value", ["8201", "host:0", "host:70000", "a b:1", "host:", "unix//sock"])
def test_addresses_have_a_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMB_WEB_BIND", value)
    with pytest.raises(StartRefused, match="CMB_WEB_BIND: This is no name or address with a port"):
        load_settings()


def test_a_bare_address_of_ipv6_gets_its_brackets(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, relay_upstream="fd00::12:8203")
    assert settings.relay_upstream == "[fd00::12]:8203"
    assert TcpPlace.of(settings.relay_upstream) == TcpPlace("fd00::12", 8203)


def test_a_place_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StartRefused, match="Nothing can listen on 127.0.0.1:"):
            listen(TcpPlace("127.0.0.1", taken.getsockname()[1]))


def test_the_relay_is_reached_where_the_settings_say() -> None:
    assert Relay(ScriptedAccess(), TcpPlace("127.0.0.1", 5)).upstream == "127.0.0.1:5"
    assert Relay(ScriptedAccess(), TcpPlace("0.0.0.0", 5), reached_at="10.0.0.7:5").upstream == "10.0.0.7:5"
    assert Relay(ScriptedAccess(), Path("/run/relay.sock")).upstream == "unix//run/relay.sock"
