"""The transition table says all there is to say about phases."""

from __future__ import annotations

from cmbcluster.domain.lifecycle import AT_REST, LAUNCHING, OCCUPYING, TRANSITIONS, Phase, may_follow


def test_every_phase_has_a_row_and_every_phase_but_queued_is_reached() -> None:
    assert set(TRANSITIONS) == set(Phase)
    assert set().union(*TRANSITIONS.values()) == set(Phase)


def test_everything_can_be_deleted_and_nothing_leaves_gone() -> None:
    for phase in set(Phase) - {Phase.GONE, Phase.DELETING}:
        assert may_follow(phase, Phase.DELETING), phase
    assert TRANSITIONS[Phase.GONE] == frozenset()
    assert TRANSITIONS[Phase.DELETING] == {Phase.GONE}


def test_what_moves_can_be_stopped_and_can_fail() -> None:
    for phase in LAUNCHING | {Phase.RUNNING, Phase.UNKNOWN}:
        assert may_follow(phase, Phase.STOPPING), phase
        assert may_follow(phase, Phase.FAILED), phase


def test_rest_and_places_exclude_each_other() -> None:
    assert not AT_REST & OCCUPYING
    assert set(Phase) == AT_REST | OCCUPYING | {Phase.DELETING, Phase.GONE}
