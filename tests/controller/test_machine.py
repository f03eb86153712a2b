"""A Hypothesis machine over everything people, time and failures can do.

Invariants: never two processes for one environment, none for a stopped one, the quota is
never exceeded, every warning once. Each example runs on an event loop of its own.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from cmbcluster.controller.checkpoints import Checkpoint
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.lifecycle import AT_REST, StopReason
from cmbcluster.errors import DependencyError, UserError
from tests.fakes.runtime import Behaviour
from tests.platform import Platform, open_platform

Outcome = TypeVar("Outcome")
NAMES = ("one", "two", "three", "four", "five", "six", "seven")
BEHAVIOURS = (
    Behaviour(),
    Behaviour(),
    Behaviour(builds_for_seconds=5, starts_for_seconds=300),
    Behaviour(builds_for_seconds=30, starts_for_seconds=10, stops_for_seconds=8),
    Behaviour(stops_for_seconds=20),
    Behaviour(exits_with=1),
    Behaviour(never_ready=True),
    Behaviour(build_fails=True, builds_for_seconds=5),
    Behaviour(runs_for_seconds=400),
    Behaviour(dies_after_create=True),
)


class Killed(BaseException):
    """Stands for ``kill -9``."""


class EnvironmentMachine(RuleBasedStateMachine):
    """Users, the controller and the clock take turns in any order."""

    environments: Bundle[tuple[str, UUID]] = Bundle("environments")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory()
        self.asleep = False

    def run(self, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.platform: Platform = self.run(self.stack.enter_async_context(open_platform(Path(self.folder.name))))
        self.actors: dict[str, Actor] = {who: self.run(self.platform.sign_in(who)) for who in ("ada", "elena")}

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()
        self.folder.cleanup()

    @rule(
        target=environments,
        who=st.sampled_from(["ada", "ada", "elena"]),
        name=st.sampled_from(NAMES),
        behaviour=st.sampled_from(BEHAVIOURS),
        uptime_seconds=st.sampled_from([120, 1200, 3600]),
    )
    def launch(self, who: str, name: str, behaviour: Behaviour, uptime_seconds: int) -> tuple[str, UUID]:
        self.platform.runtime.behaviour = behaviour
        try:
            view = self.run(self.platform.launch(self.actors[who], name, uptime_seconds=uptime_seconds))
        except UserError:
            return (who, UUID(int=0))
        self._work()
        return (who, view.id)

    def _ask(self, act: str, which: tuple[str, UUID], **more: object) -> None:
        try:
            self.run(getattr(self.platform.parts.environments, act)(self.actors[which[0]], which[1], **more))
        except UserError as refused:
            assert refused.what
        self._work()

    @rule(which=environments)
    def stop(self, which: tuple[str, UUID]) -> None:
        self._ask("stop", which)

    @rule(which=environments, behaviour=st.sampled_from(BEHAVIOURS))
    def start(self, which: tuple[str, UUID], behaviour: Behaviour) -> None:
        self.platform.runtime.behaviour = behaviour
        self._ask("start", which)

    @rule(which=environments)
    def extend(self, which: tuple[str, UUID]) -> None:
        self._ask("extend", which)

    @rule(which=environments)
    def update(self, which: tuple[str, UUID]) -> None:
        self._ask("update", which)

    @rule(which=consumes(environments))
    def delete(self, which: tuple[str, UUID]) -> None:
        self._ask("delete", which, typed_name="", remove_workspace=False)

    @rule(seconds=st.sampled_from([3, 7, 31, 31, 305, 905, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.platform.advance(seconds)
        self._work()

    @rule(asleep=st.sampled_from([True, False, False]))
    def controller_sleeps_or_not(self, asleep: bool) -> None:
        self.asleep = asleep
        self._work()

    def _work(self) -> None:
        """The controller follows every act at once, unless it sleeps: then acts pile up."""
        if self.asleep:
            return
        try:
            self.run(self.platform.settle())
        except DependencyError:
            return

    @rule(checkpoint=st.sampled_from(list(Checkpoint)))
    def controller_is_killed(self, checkpoint: Checkpoint) -> None:
        def reach(reached: Checkpoint) -> None:
            if reached is checkpoint:
                raise Killed

        self.run(self.platform.forget_controller())
        with suppress(Killed, DependencyError):
            self.run(self.platform.settle(reach))
        self.run(self.platform.forget_controller())

    @rule(down=st.booleans())
    def runtime_answers_or_not(self, down: bool) -> None:
        self.platform.runtime.unavailable = down

    @rule(which=environments)
    def a_process_is_killed(self, which: tuple[str, UUID]) -> None:
        for ref in list(self.platform.runtime.live()):
            if ref.environment_id == which[1]:
                self.platform.runtime.end(ref, StopReason.MEMORY)

    @invariant()
    def never_two_processes(self) -> None:
        if hasattr(self, "platform"):
            assert all(most <= 1 for most in self.platform.runtime.most_at_once.values())

    @invariant()
    def none_for_a_stopped_one_and_quota_kept(self) -> None:
        if hasattr(self, "platform"):
            self.run(self._check_rows())

    async def _check_rows(self) -> None:
        live = {ref.environment_id for ref in self.platform.runtime.live()}
        owners: Counter[UUID] = Counter()
        async with self.platform.parts.database.reading() as work:
            for environment_id in live:
                row = await work.environments.by_id(environment_id)
                assert row is not None
                assert row.gone_at is None
                assert not (row.phase in AT_REST and row.observed_generation == row.generation), row.phase
                owners[row.owner_id] += 1
            for who, limit in (("ada", 1), ("elena", 5)):
                user_id = self.actors[who].person()
                assert owners[user_id] <= limit
                assert (await work.environments.counts(user_id))[0] <= limit
                notices = await work.notices.recent(user_id, 1000)
                assert max(Counter(n.once for n in notices).values(), default=1) == 1

    @invariant()
    def warned_at_most_twice_a_deadline(self) -> None:
        if not hasattr(self, "platform"):
            return

        async def check() -> None:
            for actor in self.actors.values():
                async with self.platform.parts.database.reading() as work:
                    notices = await work.notices.recent(actor.person(), 1000)
                deadlines = Counter(n.once.rsplit(":", 1)[0] for n in notices if n.kind == "warned")
                assert max(deadlines.values(), default=0) <= 2

        self.run(check())


TestEnvironmentMachine = EnvironmentMachine.TestCase
TestEnvironmentMachine.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
