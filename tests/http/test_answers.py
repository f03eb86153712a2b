"""Answers of the API as text: what every part of them becomes, whichever database it came from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from asyncpg.pgproto import pgproto

from cmbcluster.domain.lifecycle import Phase
from cmbcluster.http.api.paging import answer

TEXT = "0190a2b4-0000-7000-8000-000000000001"


@pytest.mark.parametrize("key", [UUID(TEXT), pgproto.UUID(TEXT)])
def test_keys_times_and_words_become_text(key: UUID) -> None:
    at = datetime(2026, 11, 26, 5, 20, 1, 500, tzinfo=UTC)
    said = json.loads(bytes(answer({"id": key, "at": at, "phase": Phase.RUNNING, "none": None}).body))
    assert said == {"id": TEXT, "at": "2026-11-26T05:20:01.000500Z", "phase": "running", "none": None}


def test_what_is_no_part_of_an_answer_is_refused() -> None:
    with pytest.raises(TypeError):
        answer({"secret": object()})
