"""The waterfall draws what was measured and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cmbcluster.domain.lifecycle import Phase, Stage
from cmbcluster.web.rows import env_row
from cmbcluster.web.timeline import current_stage, percent_done, waterfall
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
    assert [s.state for s in launching.steps] == ["done", "done", "now", "wait", "wait", "wait"]
    broken = env_row(failed(NOW), NOW)
    assert (broken.kind, broken.line) == ("failed", "It ran out of memory while starting")
    unseen = env_row(environment("x", "denario", Phase.UNKNOWN, NOW), NOW)
    assert unseen.kind == "unknown"
    assert "stopped" not in unseen.line
