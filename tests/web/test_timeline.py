"""The waterfall draws what was measured and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cmbcluster.domain.images import ImageSource
from cmbcluster.domain.lifecycle import Phase, Stage, StopReason
from cmbcluster.domain.views import EnvironmentView, ReasonView
from cmbcluster.web.rows import env_row
from cmbcluster.web.timeline import current_stage, percent_done, stage_words, waterfall
from tests.web.stage import building, environment, failed, stage

NOW = datetime(2026, 11, 23, 11, 28, tzinfo=UTC)


def test_a_running_stage_has_a_solid_part_and_a_hatched_one() -> None:
    fall = waterfall(building(NOW), NOW)
    downloading = next(lane for lane in fall.lanes if lane.name == "Downloading")
    assert downloading.state == "now"
    assert downloading.ghost_w > downloading.w > 0
    assert downloading.since == pytest.approx((NOW - timedelta(seconds=35.5)).timestamp())
    assert fall.foot == "Downloading: 249 MiB of 402 MiB"
    assert fall.head.startswith("Ready in about ")


def test_without_medians_nothing_is_hatched_and_nothing_is_promised() -> None:
    view = building(NOW)
    unknown = replace(view, stages=tuple(replace(s, usual_seconds=None) for s in view.stages))
    fall = waterfall(unknown, NOW)
    assert all(lane.ghost_w == 0 for lane in fall.lanes)
    assert fall.head == ""
    assert not fall.has_usual


def test_stages_still_to_come_are_named_without_a_length() -> None:
    view = building(NOW)
    known = replace(view, stages=view.stages[:3])
    fall = waterfall(known, NOW)
    assert [lane.name for lane in fall.lanes][-3:] == ["Installing", "Starting", "Port 8501 answers"]
    assert all(lane.w == lane.ghost_w == 0 and lane.took == "" for lane in fall.lanes[-3:])


def test_a_failure_says_where_it_gave_up() -> None:
    fall = waterfall(failed(NOW), NOW)
    assert fall.head == "gave up after 20 s"
    assert fall.foot == "Starting: stopped by the memory limit"
    assert fall.lanes[-1].tone == "bad"


def ended_launch(code: StopReason, *, reached: int) -> EnvironmentView:
    """A launch stopped in its ``reached``-th stage, which the runtime then gives an end."""
    begun = tuple(
        stage(name, NOW - timedelta(seconds=9 - n), 1.0)
        for n, name in enumerate((Stage.QUEUED, Stage.INSTALLING, Stage.STARTING, Stage.PORT)[:reached])
    )
    reason = ReasonView(code, "It ended.", "Start it again.", "")
    return replace(environment("x", "denario", Phase.STOPPED, NOW), stages=begun, reason=reason)


@pytest.mark.parametrize("reached", [1, 2, 3, 4])
def test_a_cancelled_launch_was_never_ready_and_its_last_stage_is_no_tick(reached: int) -> None:
    fall = waterfall(ended_launch(StopReason.CANCELLED, reached=reached), NOW)
    assert fall.head == f"cancelled after {reached}.0 s"
    assert [lane.state for lane in fall.lanes] == ["done"] * (reached - 1) + ["cut"]
    assert (fall.lanes[-1].glyph, fall.lanes[-1].family, fall.lanes[-1].tone) == ("stopped", "", "q")


def test_a_launch_is_ready_once_its_port_has_answered() -> None:
    fall = waterfall(ended_launch(StopReason.ASKED, reached=4), NOW)
    assert fall.head == "ready after 4.0 s"
    assert {lane.state for lane in fall.lanes} == {"done"}
    early = waterfall(ended_launch(StopReason.PLATFORM_STOPPED, reached=3), NOW)
    assert early.head == "ended after 3.0 s"
    assert early.lanes[-1].state == "cut"


def test_what_it_does_after_the_last_package_is_said() -> None:
    under_way = stage(Stage.INSTALLING, NOW, None, done=44, total=44, unit="packages", detail="compiling")
    assert stage_words(under_way) == "44 of 44 packages, compiling"
    assert stage_words(replace(under_way, done=43)) == "43 of 44 packages"
    assert stage_words(replace(under_way, ended_at=NOW)) == "44 of 44 packages"


def test_bars_stay_on_the_axis() -> None:
    for view in (building(NOW), failed(NOW), environment("x", "denario", Phase.RUNNING, NOW)):
        for lane in waterfall(view, NOW).lanes:
            assert 0 <= lane.a <= 100
            assert lane.a + max(lane.w, lane.ghost_w) <= 100.01


def test_a_late_stage_says_so() -> None:
    later = NOW + timedelta(seconds=120)
    assert waterfall(building(NOW), later).foot_note == "This takes longer than the usual 52 s."


def test_a_launch_that_has_not_begun_draws_nothing() -> None:
    view = replace(environment("x", "denario", Phase.QUEUED, NOW), stages=())
    assert waterfall(view, NOW).lanes == []
    assert current_stage(view) is None


def test_progress_counts_only_what_the_stage_counts() -> None:
    assert percent_done(stage(Stage.DOWNLOADING, NOW, None, done=1, total=4, unit="bytes")) == 25
    assert percent_done(stage(Stage.STARTING, NOW, None)) == 0


def test_rows_say_what_matters_in_each_phase() -> None:
    running = env_row(environment("x", "denario", Phase.RUNNING, NOW), NOW)
    assert (running.kind, running.word, running.used_percent) == ("running", "Running", 38)
    assert running.deadline > NOW.timestamp()
    launching = env_row(building(NOW), NOW)
    assert (launching.kind, launching.stage, launching.word) == ("launching", "Downloading", "Building")
    of_image = env_row(replace(building(NOW), source=ImageSource("ghcr.io/team/sky:1.0")), NOW)
    assert of_image.word == "Pulling"
    assert [s.state for s in launching.steps] == ["done", "done", "now", "wait", "wait", "wait"]
    broken = env_row(failed(NOW), NOW)
    assert (broken.kind, broken.line) == ("failed", "It ran out of memory while starting")
    unseen = env_row(environment("x", "denario", Phase.UNKNOWN, NOW), NOW)
    assert unseen.kind == "unknown"
    assert "stopped" not in unseen.line


def test_ticks_of_whole_minutes_are_short() -> None:
    view = replace(
        environment("x", "denario", Phase.RUNNING, NOW),
        stages=(stage(Stage.INSTALLING, NOW - timedelta(seconds=200), 185.0),),
    )
    assert [tick.text for tick in waterfall(view, NOW).ticks] == ["0 s", "60 s", "2 min", "3 min"]
