"""What the answers of an API server mean to us: refused, not there, not now, not the same one any more."""

from __future__ import annotations

import socket

import pytest
from kubernetes.aio.client.configuration import Configuration

from cmbcluster.errors import RuntimeUnavailable
from cmbcluster.runtime.kubernetes.client import ApiRefused, Cluster
from tests.runtime.kubernetes.api import listed, pod, refuses, says, served


async def test_what_is_not_there_is_none_and_a_taken_name_is_told() -> None:
    async with served(refuses(404, "NotFound"), refuses(409, "AlreadyExists"), refuses(404)) as (cluster, _):
        assert await cluster.get("/pods/a") is None
        assert await cluster.create("/pods", {}) is None
        assert await cluster.patch("/pods/a", {}) is None


async def test_a_refusal_is_told_with_its_words_and_not_tried_again() -> None:
    async with served(refuses(403, "Forbidden", "exceeded quota " + "x" * 5000)) as (cluster, script):
        with pytest.raises(ApiRefused, match="exceeded quota") as caught:
            await cluster.create("/pods", {})
        assert len(caught.value.message) == 1000
        assert len(script.asked) == 1


async def test_a_server_that_stays_busy_is_unavailable_after_a_few_tries() -> None:
    async with served(refuses(503)) as (cluster, script):
        with pytest.raises(RuntimeUnavailable):
            await cluster.get("/pods/a")
        assert len(script.asked) == 4


async def test_a_long_wait_is_left_to_whoever_asks_again() -> None:
    async with served(refuses(429, **{"Retry-After": "60"})) as (cluster, script):
        with pytest.raises(RuntimeUnavailable):
            await cluster.get("/pods/a")
        assert len(script.asked) == 1


async def test_a_delete_is_about_one_object_alone() -> None:
    async with served(says({})) as (cluster, script):
        assert await cluster.delete("/pods/a", uid="u1", grace_seconds=3)
        assert script.asked[0][3]["preconditions"] == {"uid": "u1"}
        assert script.asked[0][3]["gracePeriodSeconds"] == 3
    async with served(refuses(409, "Conflict"), says(pod("a", "1", uid="u2"))) as (cluster, _):
        assert not await cluster.delete("/pods/a", uid="u1")
    async with served(refuses(409, "Conflict"), says(pod("a", "1", uid="u1"))) as (cluster, _):
        with pytest.raises(RuntimeUnavailable):
            await cluster.delete("/pods/a", uid="u1")


async def test_nobody_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    cluster = Cluster(Configuration(host=f"http://127.0.0.1:{port}"))
    with pytest.raises(RuntimeUnavailable):
        await cluster.get("/pods/a")
    await cluster.close()


async def test_an_answer_that_is_no_json_is_unavailable() -> None:
    async with served(says("words")) as (cluster, _):
        with pytest.raises(RuntimeUnavailable):
            await cluster.get("/pods/a")


async def test_a_list_in_pages_whose_past_was_forgotten_is_unavailable_for_now() -> None:
    first = says(listed("5", pod("a", "1"), following="more"))
    async with served(first, says(listed("5", pod("b", "2")))) as (cluster, script):
        assert [each["metadata"]["name"] for each in await cluster.pages("/pods", labelSelector="a=b")] == ["a", "b"]
        assert [query.get("continue") for _, _, query, _ in script.asked] == [None, "more"]
    async with served(first, refuses(410, "Expired")) as (cluster, _):
        with pytest.raises(RuntimeUnavailable):
            await cluster.pages("/pods")
