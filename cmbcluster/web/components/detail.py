"""The parts of an environment's page: waterfall, reason, time left, facts, protection."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from typing import Any

import reflex as rx

from cmbcluster.web.acts import Acts
from cmbcluster.web.components.kit import (
    button,
    card,
    css_vars,
    fact_if,
    facts,
    glyph,
    icon,
    link_button,
    meter,
    note,
    turning,
)
from cmbcluster.web.js.parts import Copy, Countdown, Elapsed, LogView, Usage, When

ACTS: Any = Acts  # Reflex turns its attributes into Vars


def _bar(a: Any, w: Any, cls: Any = "") -> rx.Component:
    return rx.el.i(class_name=cls, custom_attrs=css_vars(a=f"{a}%", w=f"{w}%"))


def _lane(lane: Any, tick: Any) -> rx.Component:
    text = rx.cond(
        lane.text, rx.el.span(lane.text, class_name="nowrap", custom_attrs=css_vars(a=f"{lane.a}%", w=f"{lane.w}%"))
    )
    took = rx.cond(
        lane.since > 0,
        Elapsed.create(since=lane.since, class_name="b ink"),
        rx.el.span(lane.took, class_name=rx.cond(lane.state == "failed", "b bad-t", "")),
    )
    return rx.fragment(
        rx.el.div(
            glyph(lane.glyph, lane.family, turning(lane.turn)),
            lane.name,
            class_name=rx.cond(lane.state == "wait", "st wait", "st"),
        ),
        rx.el.div(
            rx.cond(lane.ghost_w > 0, _bar(lane.ghost_a, lane.ghost_w, "ghost")),
            rx.cond(lane.w > 0, _bar(lane.a, lane.w, lane.tone)),
            text,
            class_name="lane",
            custom_attrs=css_vars(tick=f"{tick}%"),
        ),
        rx.el.div(took, class_name="du"),
        key=lane.name,
    )


def launch_card(fall: Any, title: str = "Launch") -> rx.Component:
    """The waterfall of a launch."""

    def axis(t: Any) -> rx.Component:
        return rx.el.span(t.text, custom_attrs=css_vars(a=f"{t.at}%"), key=t.text)

    usual = rx.cond(
        fall.has_usual,
        rx.el.span(rx.el.i(class_name="ghost-key"), "usual time here", class_name="push xs three row gap6 hide-s"),
    )
    foot = rx.cond(
        fall.foot,
        rx.el.div(
            rx.el.span(fall.foot, class_name="num"),
            rx.el.span(fall.foot_note, class_name="push hide-s"),
            class_name="foot",
        ),
    )
    rows = rx.el.div(
        rx.el.div(class_name="ax"),
        rx.el.div(rx.foreach(fall.ticks, axis), class_name="ax"),
        rx.el.div(class_name="ax"),
        rx.foreach(fall.lanes, lambda lane: _lane(lane, fall.tick)),
        class_name="fall",
    )
    return card(
        title,
        rx.el.div(rows, class_name="in"),
        foot,
        id_="launch",
        head=[rx.el.span(fall.head, class_name="sm two num nowrap"), usual],
    )


def time_card(row: Any, about: Any) -> rx.Component:
    """The countdown of a running environment, with Extend beside it."""
    last = When.create(at=about.last_warn_at, form="time")
    both = rx.cond(about.warn_at > 0, rx.fragment(When.create(at=about.warn_at, form="time"), " and "))
    told = rx.cond(about.last_warn_at > 0, rx.fragment(" You are told at ", both, last, "."))
    return rx.el.section(
        rx.el.div(
            Countdown.create(deadline=row.deadline, after="left", icon=True, title=row.name, class_name="fig big"),
            rx.el.span(When.create(at=row.deadline, before="Stops ", after="."), told, class_name="sm two"),
            rx.cond(
                row.can_extend,
                button(
                    icon("clock", "s14"),
                    "Extend",
                    rx.cond(about.extends_to > 0, When.create(at=about.extends_to, form="soon", before="to ")),
                    cls="sm push",
                    on_click=ACTS.extend(row.id),
                    custom_attrs={"data-do": "e"},
                ),
                rx.el.span("It cannot be extended further now.", class_name="push xs three"),
            ),
            class_name="row gap12 wrap",
        ),
        rx.el.div(meter(row.used_percent, "Time used", row.used_words), class_name="mt12"),
        class_name="card time-card",
        aria_label="Time left",
    )


def usage_card(state: Any) -> rx.Component:
    """CPU, memory and network, measured while the page is open."""
    return card(
        "Resource use",
        Usage.create(
            name=state.row.id,
            sample=state.sample,
            cpu_limit=state.cpu_limit,
            memory_limit=state.memory_limit,
            texts=state.words,
        ),
        id_="use",
        head=[
            rx.el.span("since you opened this page", class_name="sm three"),
            When.create(
                at=state.sample["at"].to(float),
                form="seconds",
                before="Measured at ",
                class_name="push xs three num hide-s",
            ),
        ],
    )


def log_card(state: Any, tall: bool = False) -> rx.Component:
    """The log, live while there is something to follow."""
    live = (state.row.kind == "running") | (state.row.kind == "launching") | (state.row.kind == "unknown")
    return LogView.create(
        url=state.log_url,
        download=f"{state.log_url}/download",
        follow=live | (state.row.kind == "stopping"),
        again=state.log_key,
        tall=tall,
    )


def previous_log_card(state: Any) -> rx.Component:
    """What is kept of the output of the run before this one."""
    url = f"{state.log_url}?previous=1"
    return rx.cond(
        state.about.has_previous,
        LogView.create(
            url=url,
            download=f"{state.log_url}/download?previous=1",
            follow=False,
            again=state.log_key,
            title="Run before",
            empty="Nothing of it is kept.",
        ),
    )


def tail_card(state: Any) -> rx.Component:
    """The last lines before the end."""

    def line(t: Any) -> rx.Component:
        return rx.el.p(rx.el.span(t.text), class_name=t.tone)

    return rx.cond(
        state.why.tail.length() > 0,
        card(
            "Last lines",
            rx.el.div(
                rx.foreach(state.why.tail, line),
                class_name="log short no-time",
                role="log",
                aria_label="Last lines of the log",
                tab_index=0,
                aria_live="off",
            ),
            id_="tail",
            head=[
                rx.el.a("All logs", href=f"{state.row.href}?tab=logs", class_name="link sm push"),
                rx.el.a(
                    icon("download"),
                    href=f"{state.log_url}/download",
                    reload_document=True,
                    class_name="btn sm sq flat",
                    aria_label="Download the whole log",
                    custom_attrs={"download": ""},
                ),
            ],
        ),
    )


def _todo(strong: Any, more: Any, act: rx.Component) -> rx.Component:
    return rx.el.li(
        rx.el.div(rx.el.b(strong, class_name="b"), " ", rx.el.span(more, class_name="two"), class_name="grow"), act
    )


def _start_act(row: Any, word: str, drawing: str, cls: Any) -> rx.Component:
    """Start it as it is."""
    return button(icon(drawing, "s14"), word, cls=cls, on_click=ACTS.start(row.id, ""), custom_attrs={"data-do": "s"})


def _ways_out(why: Any, row: Any) -> rx.Component:
    """What can be done about a failure, the best first; only the first is in colour."""
    bigger = _todo(
        f"{why.bigger_words}.",
        why.bigger_note,
        button(icon("play", "s14"), why.bigger_words, cls="go", on_click=ACTS.start(row.id, why.bigger)),
    )
    edit = _todo(
        "Change what you wrote.",
        "The form opens with what you wrote. It becomes a new environment with an empty workspace.",
        link_button(icon("pencil", "s14"), "Edit and launch again", href=why.edit, cls=rx.cond(why.bigger, "", "go")),
    )
    again = rx.cond(
        (why.bigger != "") | (why.edit != ""),
        _todo(
            "Try again as it is.",
            "With the same size, content and workspace.",
            _start_act(row, "Try again", "retry", "sm"),
        ),
        _todo("Try again.", "With the same size, content and workspace.", _start_act(row, "Try again", "retry", "go")),
    )
    report = _todo(
        "Ask for help.",
        "The report holds times, sizes and the last log lines.",
        Copy.create(text=why.report, word="Copy report", label="Copy report", class_name="btn sm"),
    )
    return rx.el.ol(rx.cond(why.bigger, bigger), rx.cond(why.edit, edit), again, report, class_name="todo")


def why_card(state: Any) -> rx.Component:
    """Why it does not run, and what can be done."""
    why, row = state.why, state.row
    ways = rx.fragment(rx.el.h3("What you can do"), _ways_out(why, row))
    return rx.el.section(
        rx.el.div(
            rx.el.div(
                rx.el.span(glyph(row.phase, row.family, "s20"), class_name="mt2"),
                rx.el.div(
                    rx.el.h2(why.what, id="why"),
                    rx.el.p(why.then, class_name="two mt4"),
                    rx.cond(why.bad, ways, _start_act(row, "Start again", "play", "go mt16")),
                    class_name="grow",
                ),
                class_name="row gap12 top",
            ),
            class_name="in",
        ),
        class_name=rx.cond(why.bad, "card why", "card why calm"),
        aria_labelledby="why",
    )


def facts_card(state: Any) -> rx.Component:
    """What it is made of and where it is."""
    row, about = state.row, state.about
    launching = row.kind == "launching"
    digest = rx.el.span(
        rx.el.span(about.digest_words, class_name="mono"),
        Copy.create(text=about.digest, label="Copy the digest"),
        rx.cond(about.packages, rx.el.span(about.packages, class_name="xs three block")),
        rx.cond(about.image_size, rx.el.span(about.image_size, class_name="xs three block")),
        class_name="digest",
    )
    image = rx.el.span(
        rx.el.span(about.image, class_name="mono wrap-any"),
        Copy.create(text=about.image, label="Copy the image"),
        class_name="digest flow",
    )
    started = When.create(at=about.started_at, form="soon", after=about.took, capital=True)
    workspace = rx.fragment(about.workspace, f" of {about.workspace_of}")
    body = facts(
        ("Application", row.application),
        fact_if(
            row.kind == "running",
            "Address",
            rx.el.a(about.address_words, href=row.open_href, target="_blank", rel="noopener", class_name="link"),
        ),
        fact_if(about.image, "Image", image),
        fact_if(about.digest, rx.cond(about.image, "Digest", "Packages"), digest),
        fact_if(
            about.python,
            "Python",
            rx.cond(about.as_of, f"{about.python}, packages as of {about.as_of}", about.python),
        ),
        ("Size", row.size),
        ("Listens on", about.listens),
        fact_if(launching, "Stops after", f"{about.stops_after}, counted from when it runs"),
        fact_if(about.started_at > 0, "Started", started),
        fact_if((row.kind != "running") & (about.workspace != ""), "Workspace", rx.fragment(workspace, ", kept")),
    )
    return rx.cond(
        launching,
        card("What you asked for", rx.el.div(body, class_name="in"), id_="facts"),
        card("About it", rx.el.div(body, class_name="in"), id_="facts"),
    )


def inside_card(state: Any) -> rx.Component:
    """How full the workspace is."""
    about = state.about
    return rx.cond(
        about.workspace,
        card(
            "Workspace",
            rx.el.div(
                rx.el.div(
                    rx.el.span("Used"),
                    rx.el.span(
                        rx.el.b(about.workspace, class_name="b ink"),
                        f" of {about.workspace_of}",
                        class_name="push num three",
                    ),
                    class_name="row sm",
                ),
                rx.el.div(
                    meter(
                        about.workspace_percent,
                        "Workspace used",
                        f"{about.workspace} of {about.workspace_of}",
                        "thin",
                        about.workspace_tone,
                    ),
                    class_name="mt6",
                ),
                rx.el.p(When.create(at=about.measured_at, form="ago", before="Measured "), class_name="xs three mt8"),
                class_name="in",
            ),
            id_="inside",
        ),
    )


def protection_card(state: Any) -> rx.Component:
    """How far it is separated from everything else, and what would mend what is missing."""
    p = state.protection
    mend = rx.cond(
        p.mend,
        rx.el.div(rx.el.code(p.mend), Copy.create(text=p.mend, label="Copy the command"), class_name="mend"),
    )
    sign = rx.match(p.tone, ("ok", icon("shield", "s14")), icon("warn", "s14"))
    return rx.cond(
        p.level,
        card(
            "Protection",
            rx.el.div(
                rx.el.p(p.says, class_name="sm two"),
                rx.cond(p.limits, rx.el.p(p.limits, class_name="sm two mt6")),
                rx.cond(p.missing, rx.el.p(p.missing, class_name="sm mt8")),
                mend,
                class_name="in",
            ),
            id_="protection",
            head=[rx.el.span(sign, p.level, class_name=f"tag {p.tone} push")],
        ),
    )


def unseen_note(state: Any) -> rx.Component:
    """Said while the runtime cannot tell."""
    return note(
        glyph("unknown", "warn"),
        rx.el.b("We cannot see this environment at the moment. ", class_name="b"),
        "It may well be running. ",
        When.create(at=state.about.last_seen_at, form="seconds", before="Last seen ", after="."),
    )
