"""Handlers called as methods: any JSON may arrive, errors become words, facts become rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from cmbcluster.domain.lifecycle import Phase
from cmbcluster.domain.orders import CustomOrder
from cmbcluster.domain.sources import check_command
from cmbcluster.errors import NotFound, RuntimeUnavailable
from cmbcluster.web.acts import Acts
from cmbcluster.web.addresses import address, pager
from cmbcluster.web.arguments import environment_id, fields, text, whole
from cmbcluster.web.guard import actor_of
from cmbcluster.web.launch import FIELDS, OF_PACKAGES, Beginnings, Launch, command_words, problem_of
from cmbcluster.web.live import base_facts
from cmbcluster.web.pages.catalogue import CataloguePage, CatalogueState
from cmbcluster.web.pages.environment import DetailPage, DetailState
from cmbcluster.web.pages.environments import EnvironmentsState, ListPage, asked_for
from cmbcluster.web.pages.home import HomePage, HomeState
from cmbcluster.web.shell import Shell, show_shell
from cmbcluster.wiring import parts
from tests.web.stage import Platform, key

HOSTILE: tuple[Any, ...] = (None, 0, -1, [], {}, {"a": []}, "x" * 100_000, "\x00", "../..", ["a"], 1e308, True)
RUNNING = str(key("planck-lowl-anomalies"))
FAILED = str(key("desi-dr2-bao-chains"))
OWN = str(key("beam-viewer-2"))


@pytest.mark.parametrize("value", HOSTILE, ids=lambda v: repr(v)[:20])
def test_arguments_are_bounded(value: Any) -> None:
    with pytest.raises(NotFound):
        environment_id(value)
    assert isinstance(text(value), str)
    assert len(text(value, 10)) <= 10
    assert 0 <= whole(value, 0, 100) <= 100


def test_fields_of_a_form_are_strings() -> None:
    assert fields({"a": 1, "b": "x"}) == {"a": "", "b": "x"}


@pytest.mark.parametrize("value", HOSTILE, ids=lambda v: repr(v)[:20])
@pytest.mark.parametrize("act", ["start", "stop", "extend", "update", "run", "ask_delete"])
async def test_hostile_ids_never_raise(tab: Any, act: str, value: Any) -> None:
    acts = await tab("elena").get_state(Acts)
    await Acts.event_handlers[act].fn(acts, value)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda v: repr(v)[:20])
async def test_hostile_forms_never_raise(tab: Any, value: Any) -> None:
    root = tab("elena")
    launch = await root.get_state(Launch)
    async for _ in Launch.event_handlers["order"].fn(launch, value):
        pass
    await Launch.event_handlers["check"].fn(launch, value, value)
    await Acts.event_handlers["delete"].fn(await root.get_state(Acts), value)


async def test_stop_says_what_it_did(tab: Any, stage: Platform) -> None:
    root = tab("elena")
    await Acts.event_handlers["stop"].fn(await root.get_state(Acts), RUNNING)
    shell = await root.get_state(Shell)
    assert shell.toasts[-1]["text"] == "planck-lowl-anomalies: it is stopping."
    view = await stage.get(stage.accounts_by_token["elena"].actor, key("planck-lowl-anomalies"))
    assert view.phase is Phase.STOPPING


async def test_somebody_elses_environment_is_not_there(tab: Any) -> None:
    root = tab("ada")
    await Acts.event_handlers["stop"].fn(await root.get_state(Acts), RUNNING)
    shell = await root.get_state(Shell)
    assert shell.toasts[-1]["text"] == "There is no such environment, or it is not yours."
    assert shell.toasts[-1]["tone"] == "bad"


async def test_a_runtime_that_does_not_answer_is_said_in_words(tab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: Any, **__: Any) -> None:
        raise RuntimeUnavailable("socket closed by /var/secret/path")

    monkeypatch.setattr(parts().environments, "stop", silent)
    root = tab("elena")
    await Acts.event_handlers["stop"].fn(await root.get_state(Acts), RUNNING)
    toast = (await root.get_state(Shell)).toasts[-1]
    assert toast["tone"] == "bad"
    assert "secret" not in str(toast)


async def test_the_workspace_goes_only_with_its_name(tab: Any) -> None:
    root = tab("elena")
    acts = await root.get_state(Acts)
    await Acts.event_handlers["ask_delete"].fn(acts, FAILED)
    assert acts.deleting_name == "desi-dr2-bao-chains"
    assert acts.deleting_place == "environments/desi-dr2-bao-chains-x7kq2m/workspace"
    await Acts.event_handlers["delete"].fn(acts, {"workspace": "remove", "typed_name": "wrong"})
    assert "typed_name" in acts.delete_errors
    assert acts.deleting_id
    await Acts.event_handlers["delete"].fn(acts, {"workspace": "remove", "typed_name": "desi-dr2-bao-chains"})
    assert acts.deleting_id == ""


async def test_a_workspace_of_a_cluster_that_stays_is_named_as_it_is_there(
    tab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = parts()
    in_cluster = SimpleNamespace(
        **vars(here) | {"settings": here.settings.model_copy(update={"runtime": "kubernetes"})}
    )
    monkeypatch.setattr("cmbcluster.web.acts.parts", lambda: in_cluster)
    acts = await tab("elena").get_state(Acts)
    await Acts.event_handlers["ask_delete"].fn(acts, FAILED)
    assert acts.deleting_place == "workspace-desi-dr2-bao-chains-x7kq2m"


async def test_a_launch_reports_every_wrong_field_at_once(tab: Any) -> None:
    root = tab("elena")
    launch = await root.get_state(Launch)
    await Launch.event_handlers["begin"].fn(launch, "custom")
    assert launch.is_open
    form = {"name": "Bad name!", "requirements": "-e .", "python": "2", "command": "a | b", "port": "80"}
    assert [_ async for _ in Launch.event_handlers["order"].fn(launch, form)]
    assert {k for k, v in launch.errors.items() if v} == {"name", "requirements", "python", "command", "port"}
    assert set(launch.errors) <= set(FIELDS)
    assert launch.is_open
    assert not launch.busy


async def test_a_launch_that_passes_goes_to_its_page(tab: Any, stage: Platform) -> None:
    root = tab("elena")
    stage.accounts_by_token["elena"].environments.pop()
    launch = await root.get_state(Launch)
    await Launch.event_handlers["begin"].fn(launch, "denario")
    assert launch.offer.suggestion == "denario"
    form = {"name": "planck-dipole", "size": "large", "uptime": "21600"}
    events = [event async for event in Launch.event_handlers["order"].fn(launch, form)]
    assert f"/environments/{key('planck-dipole')}" in str(events[-1])
    assert not launch.is_open


async def test_the_limit_is_said_in_the_dialog(tab: Any) -> None:
    root = tab("elena")
    launch = await root.get_state(Launch)
    await Launch.event_handlers["begin"].fn(launch, "denario")
    assert launch.offer.full == "You have 5 of 5 running. Stop one, then launch this."


async def test_an_unknown_application_opens_nothing(tab: Any) -> None:
    root = tab("elena")
    launch = await root.get_state(Launch)
    await Launch.event_handlers["begin"].fn(launch, "no-such-thing")
    assert not launch.is_open
    assert (await root.get_state(Shell)).toasts[-1]["text"] == "There is no such application."


def test_field_checks_are_the_domains() -> None:
    assert problem_of("name", "planck-lensing") == ""
    assert "control characters" in problem_of("name", "a\x07")
    assert problem_of("port", "99999").startswith("Port 99999")


async def shown(page: Any, state: Any, root: Any) -> Any:
    """Gather and show once, as ``follow`` does."""
    actor = await actor_of(root)
    page.base = await base_facts(actor)
    await page.show(state, await page.gather(actor))
    return state


async def test_home_counts_what_is_there(tab: Any) -> None:
    root = tab("elena")
    home = await shown(HomePage(), await root.get_state(HomeState), root)
    assert home.ready
    assert home.sentence == "3 running, 1 starting, 3 things need you."
    assert [need.act for need in home.needs] == ["retry", "extend", ""]
    assert home.rows[0].kind == "running"
    assert len(home.again) == 4


async def test_home_offers_to_change_what_a_person_wrote_before_trying_it_again(tab: Any) -> None:
    root = tab("ravi")
    home = await shown(HomePage(), await root.get_state(HomeState), root)
    [need] = home.needs
    assert need.act == "edit"
    assert need.edit == f"/catalogue?launch=custom&from={need.id}"


async def test_home_of_somebody_new_says_what_to_do(tab: Any) -> None:
    root = tab("ada")
    home = await shown(HomePage(), await root.get_state(HomeState), root)
    assert home.sentence == "Launch an application to begin."
    assert home.rows == home.needs == home.again == []


async def opened_from(tab: Any, person: str, wanted: str, from_id: str) -> Launch:
    """The launch dialog as the catalogue's address opens it."""
    root = tab(person, f"/catalogue?launch={wanted}&from={from_id}")
    await shown(CataloguePage("", "", wanted, from_id), await root.get_state(CatalogueState), root)
    launch: Launch = await root.get_state(Launch)
    assert launch.is_open
    return launch


async def test_ones_own_application_is_launched_again_from_what_was_written(tab: Any) -> None:
    launch = await opened_from(tab, "ravi", "custom", OWN)
    begin = launch.beginnings
    assert launch.offer.title == "Launch your own application"
    assert (launch.offer.suggestion, launch.offer.uptime) == ("beam-viewer", "3600")
    assert begin.requirements == "streamlit>=1.40\nhealpy"
    assert begin.command == "streamlit run 'my app.py' --server.port {port} --title 'it'\"'\"'s'"
    assert (begin.python, begin.port, begin.as_of) == (">=3.11,<3.14", "8600", "2026-03-01")
    assert begin.health_path == "/_stcore/health"
    assert [size.id for size in launch.sizes if size.usual] == ["small"]
    assert not begin.is_image
    assert not any(problem_of(name, getattr(begin, name)) for name in OF_PACKAGES if name != "name")


IMAGE_FORM = {
    "name": "mine", "content": "image", "image": "ghcr.io/team/app:1", "command": "", "port": "8888", "size": "small",
    "health_path": "/", "uptime": "3600", "requirements": "what was typed before", "python": "3.12", "as_of": "",
}  # fmt: skip


async def ordered(launch: Launch, form: dict[str, str]) -> list[Any]:
    """Send the form; what the handler asks the browser to do."""
    return [step async for step in Launch.event_handlers["order"].fn(launch, form) if step is not None]


async def test_an_image_is_begun_from_and_ordered_without_the_other_fields(tab: Any, stage: Platform) -> None:
    launch = await opened_from(tab, "mira", "custom", str(key("map-server")))
    begin = launch.beginnings
    assert launch.offer.takes_image
    assert (begin.is_image, begin.image) == (True, "ghcr.io/cmb-group/map-server:2.4")
    assert (begin.command, begin.port, begin.health_path) == ("", "8888", "/healthz")
    assert len(await ordered(launch, IMAGE_FORM)) == 1
    assert not launch.is_open
    assert stage.ordered is not None
    assert stage.ordered.custom == CustomOrder("", "", "", "", "8888", "/", "ghcr.io/team/app:1")


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"image": ""}, "image"),
        ({"image": "https://ghcr.io/x"}, "image"),
        ({"image": "elsewhere.example.org/x"}, "image"),
        ({"command": "a | b"}, "command"),
        ({"port": "1"}, "port"),
        ({"health_path": "x"}, "health_path"),
        ({"content": "packages", "command": "x {port}", "requirements": ""}, "requirements"),
        ({"content": "packages", "requirements": "numpy"}, "command"),
    ],
)
async def test_what_is_wrong_with_an_image_is_said_at_its_field(tab: Any, change: dict[str, str], at: str) -> None:
    launch = await opened_from(tab, "mira", "custom", "")
    assert await ordered(launch, IMAGE_FORM | change) == []
    assert [name for name, said in launch.errors.items() if said] == [at]
    assert launch.is_open


async def test_what_cannot_run_here_is_shown_with_the_reason_and_not_begun(tab: Any) -> None:
    root = tab("mira", "/catalogue?launch=sky-server")
    catalogue = await shown(CataloguePage("sky", "", "sky-server"), await root.get_state(CatalogueState), root)
    reasons = {card.id: card.unavailable for card in catalogue.cards}
    assert reasons["sky-server"].startswith("It is a container image.")
    assert not (await root.get_state(Launch)).is_open


async def test_a_taken_name_gets_the_next_number(tab: Any, stage: Platform) -> None:
    ravi = stage.accounts_by_token["ravi"]
    ravi.environments.append(replace(ravi.environments[0], id=key("other"), name="beam-viewer"))
    launch = await opened_from(tab, "ravi", "custom", OWN)
    assert launch.offer.suggestion == "beam-viewer-3"


@pytest.mark.parametrize(
    ("person", "from_id"),
    [("elena", OWN), ("elena", FAILED), ("elena", "nonsense"), ("ravi", str(key("gone"))), ("ravi", "")],
)
async def test_what_cannot_be_begun_from_leaves_an_empty_form(tab: Any, person: str, from_id: str) -> None:
    launch = await opened_from(tab, person, "custom", from_id)
    assert launch.beginnings == Beginnings()
    assert launch.offer.suggestion == "custom"


async def test_the_next_dialog_forgets_what_the_last_began_from(tab: Any) -> None:
    launch = await opened_from(tab, "ravi", "custom", OWN)
    await Launch.event_handlers["begin"].fn(launch, "custom")
    assert launch.beginnings == Beginnings()
    await Launch.event_handlers["begin"].fn(launch, "denario")
    assert launch.offer.title == "Launch Denario"


@pytest.mark.parametrize("command", [("a", "{address}:{port}"), ("a b", "c'd", ""), ("x", "{", "$HOME;ls", "{port}&")])
def test_a_command_in_words_is_split_into_itself(command: tuple[str, ...]) -> None:
    assert check_command(command_words(command)) == command


async def test_the_list_keeps_its_filter_in_the_address(tab: Any) -> None:
    root = tab("elena")
    wanted = asked_for({"q": "planck", "phase": "running", "sort": "name"})
    state = await shown(ListPage(wanted), await root.get_state(EnvironmentsState), root)
    assert [row.name for row in state.rows] == ["planck-lowl-anomalies"]
    assert state.by_name.how == "ascending"
    assert state.by_name.href == "/environments?q=planck&phase=running&sort=-name"
    assert [chip.on for chip in state.phases] == [False, True, False, False, False]


def test_what_an_address_cannot_mean_is_left_out() -> None:
    wanted = asked_for({"phase": "nonsense", "sort": "__class__", "from": "-5"})
    assert (wanted.phase, wanted.sort, wanted.offset) == ("", "-asked_at", 0)


def test_pages_of_a_list() -> None:
    assert pager("/x", 0, 7, 7, "entry", "entries").text == "7 entries"
    middle = pager("/x", 25, 25, 80, "entry", "entries", q="a b")
    assert middle.text == "26–50 of 80 entries"
    assert (middle.before, middle.after) == ("/x?q=a+b", "/x?q=a+b&from=50")
    assert address("/x", q="", n=0) == "/x"


async def test_a_page_of_somebody_else_says_not_found(tab: Any) -> None:
    root = tab("ada")
    state = await shown(DetailPage(RUNNING, "overview", 0), await root.get_state(DetailState), root)
    assert state.missing
    assert state.row.name == ""


async def test_changes_of_phase_are_told_once(tab: Any, stage: Platform) -> None:
    root = tab("elena")
    shell = await root.get_state(Shell)
    actor = await actor_of(root)
    show_shell(shell, await base_facts(actor))
    assert shell.toasts == []
    await stage.change(actor, key("act-dr6-lensing"), "", phase=Phase.RUNNING, running_since=datetime.now(UTC))
    show_shell(shell, await base_facts(actor))
    show_shell(shell, await base_facts(actor))
    assert [toast["text"] for toast in shell.toasts] == ["act-dr6-lensing is running"]
    assert shell.said == "act-dr6-lensing is running"


async def test_a_failure_is_told_aloud(tab: Any, stage: Platform) -> None:
    root = tab("elena")
    shell = await root.get_state(Shell)
    actor = await actor_of(root)
    show_shell(shell, await base_facts(actor))
    await stage.change(actor, key("act-dr6-lensing"), "", phase=Phase.FAILED)
    show_shell(shell, await base_facts(actor))
    assert shell.alarm.startswith("act-dr6-lensing failed")
