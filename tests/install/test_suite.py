"""The browser tests of one machine, as they are, on the installed platform, with replicas killed at random."""

from __future__ import annotations

import pytest

from tests.e2e.test_day import (
    test_a_notebook_cell_runs_over_its_websocket,
    test_another_person_gets_nowhere_by_any_address,
    test_stages_go_by_and_the_explorer_answers_a_slider,
    test_stop_and_start_again_keeps_the_file,
    test_the_agents_show_their_first_screen,
)
from tests.e2e.test_script import client, test_a_script_does_with_a_token_what_a_person_does_with_a_mouse
from tests.e2e.test_sharing import test_a_guest_works_in_it_until_the_owner_withdraws
from tests.e2e.test_weight import test_home_is_light
from tests.install.killer import KILLED_ROLES, Killer
from tests.install.own_image import (
    image,
    test_an_image_of_ones_own_runs_by_its_tag_and_starts_again_by_its_digest,
)
from tests.install.persistence import launched
from tests.kubernetes.cluster import needs

__all__ = [
    "client",
    "image",
    "launched",
    "test_a_guest_works_in_it_until_the_owner_withdraws",
    "test_a_notebook_cell_runs_over_its_websocket",
    "test_a_script_does_with_a_token_what_a_person_does_with_a_mouse",
    "test_an_image_of_ones_own_runs_by_its_tag_and_starts_again_by_its_digest",
    "test_another_person_gets_nowhere_by_any_address",
    "test_home_is_light",
    "test_stages_go_by_and_the_explorer_answers_a_slider",
    "test_stop_and_start_again_keeps_the_file",
    "test_the_agents_show_their_first_screen",
]
pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.browser,
    pytest.mark.index,
    pytest.mark.timeout(900),
    needs("CMB_TEST_PLATFORM_IMAGE"),
    pytest.mark.usefixtures("killer"),
]


def test_somebody_was_killed_all_the_time(killer: Killer) -> None:
    assert set(killer.killed) == set(KILLED_ROLES)
    assert sum(killer.killed.values()) >= 10
