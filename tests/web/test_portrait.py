"""Facts of one environment: measured, or said not to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cmbcluster.domain.actors import Tier
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.domain.tiers import GIB, LIMITS, sizes_within, uptimes_within
from cmbcluster.domain.views import LimitsView, UsageView
from cmbcluster.web.portrait import Meter, about, protection, why
from tests.web.stage import OWN_NETWORK, SANDBOX, environment, failed, own_failed

NOW = datetime(2026, 11, 23, 11, 28, tzinfo=UTC)


def limits(tier: Tier) -> LimitsView:
    most = LIMITS[tier]
    return LimitsView(tier, most, 1, 1, sizes_within(most), uptimes_within(most))


def test_memory_offers_the_next_size_of_the_tier() -> None:
    told = why(failed(NOW), limits(Tier.PREMIUM))
    assert (told.bigger, told.bigger_words, told.bad) == ("medium", "Start with 4 GiB", True)
    assert told.tail[-1].tone == "e"
    assert "run_out" not in told.report
    assert "Killed: memory limit" in told.report


def test_at_the_tiers_end_nothing_bigger_is_offered() -> None:
    biggest = replace(failed(NOW), memory_bytes=4 * GIB)
    assert why(biggest, limits(Tier.FREE)).bigger == ""


def test_what_a_person_wrote_can_be_changed_after_a_failure() -> None:
    own = own_failed(NOW)
    assert why(own, limits(Tier.PREMIUM)).edit == f"/catalogue?launch=custom&from={own.id}"
    assert why(replace(own, phase=Phase.STOPPED), limits(Tier.PREMIUM)).edit == ""
    assert why(failed(NOW), limits(Tier.PREMIUM)).edit == ""


def test_a_running_environment_has_no_reason() -> None:
    assert why(environment("x", "denario", Phase.RUNNING, NOW), limits(Tier.FREE)).what == ""


def test_protection_in_words() -> None:
    assert protection(OWN_NETWORK).tone == "ok"
    told = protection(SANDBOX)
    assert told.tone == "warn"
    assert told.mend.startswith("sudo ")
    assert protection(None).level == ""


def test_a_workspace_that_was_not_measured_has_no_size() -> None:
    view = replace(environment("x", "denario", Phase.RUNNING, NOW), workspace_bytes=None)
    assert about(view, limits(Tier.PREMIUM), NOW).workspace == ""


def usage(seconds: float, received: int | None, cpu: float | None = 1500.0) -> UsageView:
    return UsageView(NOW + timedelta(seconds=seconds), cpu, 6 * GIB, 31, received, received)


def test_a_rate_needs_two_measurements() -> None:
    meter = Meter()
    first, _ = meter.sample(usage(0, 0))
    assert first["received"] is None
    second, words = meter.sample(usage(3, 78_000_000))
    assert second["received"] == pytest.approx(26.0)
    assert words["received"] == "26"


def test_a_counter_that_began_again_gives_a_gap_and_not_a_rate() -> None:
    meter = Meter()
    meter.sample(usage(0, 1000))
    assert meter.sample(usage(3, 10))[0]["received"] is None


def test_what_was_not_measured_is_absent() -> None:
    meter = Meter()
    assert meter.sample(None) == ({}, {})
    values, words = meter.sample(usage(3, None, cpu=None))
    assert values["cpu"] is None
    assert words["cpu"] == ""
